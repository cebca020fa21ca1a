-- What the server says of the slot; inactive_since is a column from 17 on.
SELECT
    s.wal_status,
    s.safe_wal_size AS safe_wal_bytes,
    pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.restart_lsn)::bigint AS kept_bytes,
    pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.confirmed_flush_lsn)::bigint AS unconfirmed_bytes,
    pg_size_bytes(nullif(current_setting('max_slot_wal_keep_size'), '-1')) AS kept_bytes_max,
    s.active_pid,
    (to_jsonb(s) ->> 'inactive_since')::timestamptz AS inactive_since,
    coalesce(t.spill_bytes, 0) AS spilled_bytes
FROM pg_replication_slots s
LEFT JOIN pg_stat_replication_slots t ON t.slot_name = s.slot_name
WHERE s.slot_name = %(slot)s
