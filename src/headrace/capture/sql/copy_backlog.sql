-- One page of the events that were committed before the slot began, in an order that never changes. That the number is
-- below the snapshot's end follows from its being visible; said aloud, it lets the index find that there are none.
COPY (
    SELECT stream, version, type, schema_version, data, metadata, recorded_at, transaction_id, ordinal
    FROM headrace.events
    WHERE pg_visible_in_snapshot(transaction_id, {snapshot}::pg_snapshot)
      AND (transaction_id, ordinal, stream, version) > ({transaction_id}::xid8, {ordinal}, {stream}, {version})
      AND transaction_id >= {transaction_id}::xid8
      AND transaction_id < pg_snapshot_xmax({snapshot}::pg_snapshot)
    ORDER BY transaction_id, ordinal, stream, version
    OFFSET {skip}
    LIMIT {rows}
) TO STDOUT (FORMAT csv, FORCE_QUOTE (stream, type, data, metadata))
