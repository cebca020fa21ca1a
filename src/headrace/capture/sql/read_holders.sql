-- The transactions that a copy may have to wait for, oldest first. Not their statements: these hold values of rows. A
-- role without pg_read_all_stats sees only its own sessions' numbers, and all prepared transactions.
SELECT pid, usename::text AS role, application_name AS application, state, NULL AS prepared,
       extract(epoch FROM clock_timestamp() - xact_start)::int AS age_s
FROM pg_stat_activity
WHERE backend_xid IS NOT NULL
UNION ALL
SELECT NULL, owner::text, NULL, NULL, gid, extract(epoch FROM clock_timestamp() - prepared)::int
FROM pg_prepared_xacts
ORDER BY age_s DESC
LIMIT 5
