-- The version that a stream had at a time: the last one before its first event that was recorded later.
SELECT coalesce(
    (SELECT version - 1 FROM headrace.events
     WHERE stream = %(stream)s AND recorded_at > %(time)s ORDER BY version LIMIT 1),
    (SELECT version FROM headrace.events WHERE stream = %(stream)s ORDER BY version DESC LIMIT 1),
    0
)
