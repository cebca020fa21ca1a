-- The events behind one place, up to and with another, as JSON lines. No JSON text holds a control character, so with
-- two of those as quote and delimiter COPY writes each line as it is: nothing is quoted, no backslash is doubled.
COPY (
    SELECT row_to_json(line)
    FROM (
        SELECT stream, version, type, schema_version, recorded_at, tags, data, metadata
        FROM headrace.events
        WHERE (transaction_id, ordinal, stream, version)
              > (%(transaction_id)s::xid8, %(ordinal)s, %(stream)s, %(version)s)
          AND (transaction_id, ordinal, stream, version)
              <= (%(end_transaction_id)s::xid8, %(end_ordinal)s, %(end_stream)s, %(end_version)s)
          AND transaction_id BETWEEN %(transaction_id)s::xid8 AND %(end_transaction_id)s::xid8
        ORDER BY transaction_id, ordinal, stream, version
    ) AS line
) TO STDOUT (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
