-- One page of the events that are visible in the snapshot `reading` and not in `seen`, after a place, in the order of
-- read_all. Not visible in `seen` are exactly the transactions that ran then and those that began later: two ranges of
-- the index, so a transaction that stays open makes no page longer.
--
-- Of the rows looked at, those of other types are left out, but for the last one of a full page: the place to go on
-- from.
SELECT transaction_id::text, ordinal, stream, version, type, schema_version, data, metadata, recorded_at, tags,
       nth = %(rows_max)s AS full_page, %(types)s::text[] IS NULL OR type = ANY (%(types)s::text[]) AS wanted
FROM (
    SELECT found.*, row_number() OVER (ORDER BY transaction_id, ordinal, stream, version) AS nth
    FROM (
        (
            SELECT *
            FROM headrace.events
            WHERE transaction_id = ANY (ARRAY(SELECT pg_snapshot_xip(%(seen)s::pg_snapshot)))
              AND (transaction_id, ordinal, stream, version) > (%(transaction_id)s::xid8, %(ordinal)s, %(stream)s, %(version)s)
              AND pg_visible_in_snapshot(transaction_id, %(reading)s::pg_snapshot)
            ORDER BY transaction_id, ordinal, stream, version
            LIMIT %(rows_max)s
        )
        UNION ALL
        (
            SELECT *
            FROM headrace.events
            WHERE transaction_id >= pg_snapshot_xmax(%(seen)s::pg_snapshot)
              AND transaction_id >= %(transaction_id)s::xid8
              AND transaction_id < pg_snapshot_xmax(%(reading)s::pg_snapshot)
              AND (transaction_id, ordinal, stream, version) > (%(transaction_id)s::xid8, %(ordinal)s, %(stream)s, %(version)s)
              AND pg_visible_in_snapshot(transaction_id, %(reading)s::pg_snapshot)
            ORDER BY transaction_id, ordinal, stream, version
            LIMIT %(rows_max)s
        )
    ) AS found
    ORDER BY transaction_id, ordinal, stream, version
    LIMIT %(rows_max)s
) AS page
WHERE %(types)s::text[] IS NULL OR type = ANY (%(types)s::text[]) OR nth = %(rows_max)s
ORDER BY nth
