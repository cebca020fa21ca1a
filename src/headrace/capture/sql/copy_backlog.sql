-- One page of the events that were committed before the slot began, in an order that never changes.
COPY (
    SELECT stream, version, type, schema_version, data, metadata, recorded_at, transaction_id
    FROM headrace.events
    WHERE pg_visible_in_snapshot(transaction_id, {snapshot}::pg_snapshot)
      AND (transaction_id, stream, version) > ({transaction_id}::xid8, {stream}, {version})
      AND transaction_id >= {transaction_id}::xid8
    ORDER BY transaction_id, stream, version
    OFFSET {skip}
    LIMIT {rows}
) TO STDOUT (FORMAT csv, FORCE_QUOTE (stream, type, data, metadata))
