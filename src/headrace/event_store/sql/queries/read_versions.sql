-- The present version of each of these streams; 0 for one that does not exist.
SELECT wanted.stream,
       coalesce((SELECT version FROM headrace.events
                 WHERE events.stream = wanted.stream ORDER BY version DESC LIMIT 1), 0)
FROM unnest(%(streams)s::text[]) AS wanted (stream)
