-- The place of the last of the next so many events behind a place, below a horizon.
SELECT transaction_id::text, ordinal, stream, version
FROM (
    SELECT transaction_id, ordinal, stream, version
    FROM headrace.events
    WHERE (transaction_id, ordinal, stream, version) > (%(transaction_id)s::xid8, %(ordinal)s, %(stream)s, %(version)s)
      AND transaction_id >= %(transaction_id)s::xid8
      AND transaction_id < %(horizon)s::xid8
    ORDER BY transaction_id, ordinal, stream, version
    LIMIT %(rows_max)s
) AS page
ORDER BY page.transaction_id DESC, ordinal DESC, stream DESC, version DESC
LIMIT 1
