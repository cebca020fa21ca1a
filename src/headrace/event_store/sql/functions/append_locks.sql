-- The locks that a call of headrace.append takes before it looks at anything, and which of them it holds alone.
--
-- A seed for each kind of name: 0 streams, 1 command ids, 2 tags, 3 types, 4 everything, 5 conditions as such.
CREATE OR REPLACE FUNCTION headrace.append_locks(appends jsonb) RETURNS TABLE (key bigint, alone boolean)
LANGUAGE sql STABLE AS $$
    WITH one AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(appends) AS one (command_id text, condition jsonb, parts jsonb)
    ),
    part AS MATERIALIZED (
        SELECT part.stream, part.events
        FROM one CROSS JOIN LATERAL jsonb_to_recordset(one.parts) AS part (stream text, events jsonb)
    ),
    event AS MATERIALIZED (
        SELECT event.type, event.tags
        FROM part CROSS JOIN LATERAL jsonb_to_recordset(part.events) AS event (type text, tags text[])
    ),
    criterion AS MATERIALIZED (
        SELECT criterion.types, criterion.tags
        FROM one
        CROSS JOIN LATERAL jsonb_to_recordset(one.condition -> 'criteria') AS criterion (types text[], tags text[])
    )
    SELECT hashtextextended(part.stream, 0), true FROM part
    UNION ALL SELECT hashtextextended(one.command_id, 1), true FROM one WHERE one.command_id IS NOT NULL
    UNION ALL SELECT hashtextextended(tag.name, 2), false FROM event CROSS JOIN LATERAL unnest(event.tags) AS tag (name)
    UNION ALL SELECT DISTINCT hashtextextended(event.type, 3), false FROM event
    UNION ALL SELECT hashtextextended('', 4), false WHERE EXISTS (SELECT FROM event)
    UNION ALL SELECT hashtextextended(criterion.tags[1], 2), true FROM criterion WHERE cardinality(criterion.tags) > 0
    UNION ALL SELECT hashtextextended(type.name, 3), true
        FROM criterion CROSS JOIN LATERAL unnest(criterion.types) AS type (name)
        WHERE coalesce(cardinality(criterion.tags), 0) = 0
    UNION ALL SELECT hashtextextended('', 4), true FROM criterion
        WHERE coalesce(cardinality(criterion.tags), 0) = 0 AND coalesce(cardinality(criterion.types), 0) = 0
    UNION ALL SELECT hashtextextended('', 5), false WHERE EXISTS (SELECT FROM criterion)
$$;
