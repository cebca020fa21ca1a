-- One page of what was recorded in a period.
SELECT stream, version, type, schema_version, data, metadata, recorded_at
FROM headrace.read_period(
    %(start)s, %(end)s, %(stream)s, %(version)s, %(category)s, %(type)s, %(rows_max)s
)
