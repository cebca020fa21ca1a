-- How many events of these types a subscription has before it, counted up to a limit. See read_new.sql.
SELECT count(*)
FROM (
    SELECT 1
    FROM headrace.events
    WHERE (transaction_id >= pg_snapshot_xmax(%(seen)s::pg_snapshot)
           OR transaction_id = ANY (ARRAY(SELECT pg_snapshot_xip(%(seen)s::pg_snapshot))))
      AND (%(types)s::text[] IS NULL OR type = ANY (%(types)s::text[]))
      AND NOT (pg_visible_in_snapshot(transaction_id, %(reading)s::pg_snapshot)
               AND (transaction_id, ordinal, stream, version) <= (%(transaction_id)s::xid8, %(ordinal)s, %(stream)s, %(version)s))
    LIMIT %(rows_max)s
) AS found
