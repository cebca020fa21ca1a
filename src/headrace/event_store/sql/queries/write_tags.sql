-- The tags of the events that this transaction has copied in.
INSERT INTO headrace.event_tags (tag, transaction_id, ordinal, stream, version)
SELECT DISTINCT tag.name, events.transaction_id, events.ordinal, events.stream, events.version
FROM headrace.events CROSS JOIN LATERAL unnest(events.tags) AS tag (name)
WHERE events.transaction_id = pg_current_xact_id()
