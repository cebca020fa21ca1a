-- One page of everything, in the order of transaction numbers, below the oldest transaction that may still write.
-- What is below that horizon is complete: a later page never has to go back for a late committer.
--
-- events.transaction_id in ORDER BY: the name alone would mean the column of the answer, which is text, and sort 100
-- before 99.
SELECT transaction_id::text, ordinal, stream, version, type, schema_version, data, metadata, recorded_at, tags
FROM headrace.events
WHERE (transaction_id, ordinal, stream, version) > (%(transaction_id)s::xid8, %(ordinal)s, %(stream)s, %(version)s)
  AND transaction_id >= %(transaction_id)s::xid8
  AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY events.transaction_id, ordinal, stream, version
LIMIT %(rows_max)s
