-- The slot, in whatever database it is, and how far it is confirmed; positions as numbers. Why it was given up is a
-- column from 17 on.
SELECT
    plugin,
    database,
    temporary,
    active_pid,
    wal_status,
    to_jsonb(s) ->> 'invalidation_reason' AS invalidation_reason,
    (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint AS confirmed_lsn,
    (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS current_lsn
FROM pg_replication_slots s
WHERE slot_name = %(slot)s
