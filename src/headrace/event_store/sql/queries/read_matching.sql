-- One page of the events that match one of the criteria, in the order of transaction numbers, and the snapshot that they
-- were read in. `seen` is the first page's snapshot for the later pages, so that all are of one moment.
--
-- Each criterion gives a page of its own, sorted; of those the first rows are taken. Each finds its event by itself, one
-- row at most: left to choose, PostgreSQL 14 goes through all events for each row of the page.
WITH matching AS (
    SELECT DISTINCT found.transaction_id, found.ordinal, found.stream, found.version
    FROM jsonb_to_recordset(%(criteria)s::jsonb) AS one (types text[], tags text[])
    CROSS JOIN LATERAL (
        (SELECT tagged.transaction_id, tagged.ordinal, tagged.stream, tagged.version
         FROM headrace.event_tags AS tagged
         WHERE tagged.tag = one.tags[1]
           AND tagged.transaction_id >= %(transaction_id)s::xid8
           AND (tagged.transaction_id, tagged.ordinal, tagged.stream, tagged.version)
               > (%(transaction_id)s::xid8, %(ordinal)s, %(stream)s, %(version)s)
           AND (%(seen)s::pg_snapshot IS NULL OR pg_visible_in_snapshot(tagged.transaction_id, %(seen)s::pg_snapshot))
           AND ((cardinality(one.tags) = 1 AND coalesce(cardinality(one.types), 0) = 0)
                OR EXISTS (SELECT FROM headrace.events
                           WHERE events.stream = tagged.stream AND events.version = tagged.version
                             AND events.tags @> one.tags
                             AND (coalesce(cardinality(one.types), 0) = 0 OR events.type = ANY (one.types))))
         ORDER BY tagged.transaction_id, tagged.ordinal, tagged.stream, tagged.version
         LIMIT %(rows_max)s)
        UNION ALL
        (SELECT events.transaction_id, events.ordinal, events.stream, events.version
         FROM headrace.events
         WHERE coalesce(cardinality(one.tags), 0) = 0
           AND (coalesce(cardinality(one.types), 0) = 0 OR events.type = ANY (one.types))
           AND events.transaction_id >= %(transaction_id)s::xid8
           AND (events.transaction_id, events.ordinal, events.stream, events.version)
               > (%(transaction_id)s::xid8, %(ordinal)s, %(stream)s, %(version)s)
           AND (%(seen)s::pg_snapshot IS NULL OR pg_visible_in_snapshot(events.transaction_id, %(seen)s::pg_snapshot))
         ORDER BY events.transaction_id, events.ordinal, events.stream, events.version
         LIMIT %(rows_max)s)
    ) AS found
    ORDER BY found.transaction_id, found.ordinal, found.stream, found.version
    LIMIT %(rows_max)s
)
SELECT pg_current_snapshot()::text, events.transaction_id::text, events.ordinal, events.stream, events.version,
       events.type, events.schema_version, events.data, events.metadata, events.recorded_at, events.tags
FROM (SELECT) AS always
LEFT JOIN (
    matching CROSS JOIN LATERAL (
        SELECT * FROM headrace.events AS one
        WHERE one.stream = matching.stream AND one.version = matching.version
        LIMIT 1
    ) AS events
) ON true
ORDER BY events.transaction_id, events.ordinal, events.stream, events.version
