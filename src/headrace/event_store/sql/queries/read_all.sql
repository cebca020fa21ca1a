-- One page of everything, in the order of transaction numbers, below the oldest transaction that may still write.
-- What is below that horizon is complete: a later page never has to go back for a late committer.
--
-- ORDER BY says `events.`: the bare name would mean the column of the SELECT, which is text, and text puts 1000 before 999.
SELECT transaction_id::text, stream, version, type, schema_version, data, metadata, recorded_at
FROM headrace.events
WHERE (transaction_id, stream, version) > (%(transaction_id)s::xid8, %(stream)s, %(version)s)
  AND transaction_id >= %(transaction_id)s::xid8
  AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY events.transaction_id, stream, version
LIMIT %(rows_max)s
