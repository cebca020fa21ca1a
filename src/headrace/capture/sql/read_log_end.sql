-- Where the next record of the log will begin.
SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS end_lsn
