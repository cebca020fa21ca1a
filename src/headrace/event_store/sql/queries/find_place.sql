-- The place behind which the last so many events stand, in the order of read_all (see there for `events.`).
SELECT transaction_id::text, stream, version
FROM headrace.events
ORDER BY events.transaction_id DESC, stream DESC, version DESC
OFFSET %(before_last)s
LIMIT 1
