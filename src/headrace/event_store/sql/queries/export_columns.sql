-- The events behind one place, up to and with another, as CSV. Tags are parted by a control character, which none holds;
-- an event without tags has nothing there, unquoted.
COPY (
    SELECT stream, version, type, schema_version, recorded_at, nullif(array_to_string(tags, E'\x1f'), ''), data, metadata
    FROM headrace.events
    WHERE (transaction_id, ordinal, stream, version) > (%(transaction_id)s::xid8, %(ordinal)s, %(stream)s, %(version)s)
      AND (transaction_id, ordinal, stream, version)
          <= (%(end_transaction_id)s::xid8, %(end_ordinal)s, %(end_stream)s, %(end_version)s)
      AND transaction_id BETWEEN %(transaction_id)s::xid8 AND %(end_transaction_id)s::xid8
    ORDER BY transaction_id, ordinal, stream, version
) TO STDOUT (FORMAT csv, FORCE_QUOTE (stream, type, data, metadata))
