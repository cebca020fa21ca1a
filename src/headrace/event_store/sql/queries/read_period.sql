-- One page of what was recorded in a period, of one category or one type where these are given, in the order of read_all.
-- An import, or a clock that jumped, may have recorded other times in between: those are left out.
-- IS TRUE keeps the index over types out: it has no ordinals, so each page would sort all of a giant transaction.
SELECT transaction_id::text, ordinal, stream, version, type, schema_version, data, metadata, recorded_at, tags
FROM headrace.events
WHERE transaction_id >= %(transaction_id)s::xid8 AND transaction_id <= %(last_transaction_id)s::xid8
  AND (transaction_id, ordinal, stream, version) > (%(transaction_id)s::xid8, %(ordinal)s, %(stream)s, %(version)s)
  AND recorded_at >= %(start)s AND recorded_at < %(end)s
  AND (%(category)s::text IS NULL OR split_part(stream, '-', 1) = %(category)s)
  AND (%(type)s::text IS NULL OR type = %(type)s) IS TRUE
ORDER BY events.transaction_id, ordinal, stream, version
LIMIT %(rows_max)s
