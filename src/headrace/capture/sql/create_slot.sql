-- Waits until every transaction that is running now has ended, so that none of them is seen by half.
SELECT (lsn - '0/0'::pg_lsn)::bigint AS confirmed_lsn
FROM pg_create_logical_replication_slot(%(slot)s, 'pgoutput')
