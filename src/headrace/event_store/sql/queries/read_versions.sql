-- The present version of each stream that exists, of those asked for.
SELECT wanted.stream, present.version
FROM unnest(%(streams)s::text[]) AS wanted (stream)
CROSS JOIN LATERAL (
    SELECT version FROM headrace.events WHERE events.stream = wanted.stream ORDER BY version DESC LIMIT 1
) AS present
