COPY headrace.events (ordinal, stream, version, type, schema_version, data, tags, metadata, recorded_at) FROM STDIN
