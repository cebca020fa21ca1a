-- One page of a stream, forwards.
SELECT stream, version, type, schema_version, data, metadata, recorded_at
FROM headrace.read_stream(
    %(stream)s, %(after_version)s, %(up_to_version)s, %(start)s, %(end)s, %(rows_max)s
)
