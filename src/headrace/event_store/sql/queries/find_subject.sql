-- Where a subject is found: its events by type and stream, their sealed fields, and how many keyed hashes they hold.
SELECT events.type, events.stream, count(DISTINCT events.version),
       coalesce(array_agg(DISTINCT field.name) FILTER (WHERE field.name IS NOT NULL), '{}'),
       count(field.name) FILTER (WHERE split_part(field.value, ':', 4) <> '')
FROM headrace.event_tags AS tagged
JOIN headrace.events USING (stream, version)
LEFT JOIN LATERAL jsonb_each_text(events.data) AS field (name, value) ON field.value LIKE 'personal:1:%%'
WHERE tagged.tag = 'subject:' || %(subject)s::text
GROUP BY events.type, events.stream
ORDER BY events.type, events.stream
