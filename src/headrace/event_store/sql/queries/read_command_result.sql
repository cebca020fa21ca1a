-- What the command of this id did, if it was appended before; the position covers it.
SELECT results.stream, results.first_version, results.last_version, results.fingerprint,
       ARRAY(SELECT events.type FROM headrace.events
             WHERE events.stream = results.stream
               AND events.version BETWEEN results.first_version AND results.last_version
             ORDER BY events.version) AS types,
       (pg_current_wal_flush_lsn() - 1)::text AS position
FROM headrace.command_results AS results
WHERE results.command_id = %(command_id)s
ORDER BY results.place
