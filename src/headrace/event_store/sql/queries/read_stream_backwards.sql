-- One page of a stream, backwards.
SELECT stream, version, type, schema_version, data, metadata, recorded_at
FROM headrace.read_stream_backwards(
    %(stream)s, %(after_version)s, %(up_to_version)s, %(start)s, %(end)s, %(rows_max)s
)
