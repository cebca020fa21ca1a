-- Below which transaction number the log is complete, see read_all.sql; how many events stand there behind a place, and
-- how many are newer.
SELECT pg_snapshot_xmin(snapshot)::text,
       (SELECT count(*) FROM headrace.events
        WHERE (transaction_id, ordinal, stream, version)
              > (%(transaction_id)s::xid8, %(ordinal)s, %(stream)s, %(version)s)
          AND transaction_id >= %(transaction_id)s::xid8
          AND transaction_id < pg_snapshot_xmin(snapshot)),
       (SELECT count(*) FROM headrace.events WHERE transaction_id >= pg_snapshot_xmin(snapshot))
FROM pg_current_snapshot() AS snapshot
