-- One page of a stream, forwards, after a version.
SELECT stream, version, type, schema_version, data, metadata, recorded_at, tags
FROM headrace.events
WHERE stream = %(stream)s AND version > %(after_version)s
ORDER BY version
LIMIT %(rows_max)s
