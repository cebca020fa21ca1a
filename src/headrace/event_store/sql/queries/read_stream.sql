-- One page of a stream, forwards: between two versions, of what was recorded in a period.
SELECT stream, version, type, schema_version, data, metadata, recorded_at, tags
FROM headrace.events
WHERE stream = %(stream)s AND version > %(after_version)s AND version <= %(up_to_version)s
  AND recorded_at >= %(start)s AND recorded_at < %(end)s
ORDER BY version
LIMIT %(rows_max)s
