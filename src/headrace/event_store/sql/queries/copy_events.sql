COPY headrace.events (stream, version, type, schema_version, data, metadata) FROM STDIN
