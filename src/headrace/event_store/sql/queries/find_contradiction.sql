-- The first of these events, counted from 0, that the store holds otherwise, or not at all.
SELECT given.number - 1
FROM ROWS FROM (
    jsonb_to_recordset(%(rows)s::jsonb) AS (
        stream text, version bigint, type text, schema_version integer, recorded_at timestamptz, tags text[],
        data jsonb, metadata jsonb
    )
) WITH ORDINALITY
    AS given (stream, version, type, schema_version, recorded_at, tags, data, metadata, number)
LEFT JOIN headrace.events USING (stream, version)
WHERE (events.type, events.schema_version, events.recorded_at, events.tags, events.data::text, events.metadata::text)
      IS DISTINCT FROM
      (given.type, given.schema_version, given.recorded_at, given.tags, given.data::text, given.metadata::text)
ORDER BY given.number
LIMIT 1
