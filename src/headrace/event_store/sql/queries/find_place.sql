-- The place behind which the last so many events stand, in the order of read_all.
SELECT transaction_id::text, ordinal, stream, version
FROM headrace.events
ORDER BY events.transaction_id DESC, ordinal DESC, stream DESC, version DESC
OFFSET %(before_last)s
LIMIT 1
