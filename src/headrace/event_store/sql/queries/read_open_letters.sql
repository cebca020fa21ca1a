-- The first open dead letters of a key with their events, in order.
SELECT letters.status = 'discard' AS discard, events.stream, events.version, events.type, events.schema_version,
       events.data, events.metadata, events.recorded_at, events.tags
FROM headrace.subscription_dead_letters AS letters
JOIN headrace.events USING (stream, version)
WHERE letters.subscription = %(name)s AND letters.key = %(key)s AND letters.status IN ('waiting', 'retry', 'discard')
ORDER BY letters.id
LIMIT %(rows_max)s
