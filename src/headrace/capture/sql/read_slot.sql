-- The slot, in whatever database it is, and how far it is confirmed; positions as numbers.
SELECT
    plugin,
    database,
    temporary,
    active_pid,
    wal_status,
    (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint AS confirmed_lsn,
    (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS current_lsn
FROM pg_replication_slots
WHERE slot_name = %(slot)s
