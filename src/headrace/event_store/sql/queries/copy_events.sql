COPY headrace.events (ordinal, stream, version, type, schema_version, data, tags, metadata) FROM STDIN
