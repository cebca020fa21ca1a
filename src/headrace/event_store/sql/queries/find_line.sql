-- Where an event stands, and the line that export_json_lines.sql writes of it.
SELECT events.transaction_id::text, events.ordinal, row_to_json(line)::text || E'\n'
FROM headrace.events
CROSS JOIN LATERAL (
    SELECT events.stream, events.version, events.type, events.schema_version, events.recorded_at, events.tags,
           events.data, events.metadata
) AS line
WHERE events.stream = %(stream)s AND events.version = %(version)s
