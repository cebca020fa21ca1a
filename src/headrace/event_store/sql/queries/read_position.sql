-- Everything that has committed lies before the flush position; the next commit record may begin at it.
SELECT (pg_current_wal_flush_lsn() - 1)::text
