-- Hold appends to these streams off until this transaction ends: the locks of headrace.append, in its order. The last
-- one stands for all conditions: a bulk append has too many tags to name each.
SELECT count(pg_advisory_xact_lock(locked.key))
FROM (
    SELECT DISTINCT hashtextextended(stream, 0) AS key
    FROM unnest(%(streams)s::text[]) AS wanted (stream)
    UNION SELECT hashtextextended('', 5)
    ORDER BY key
) AS locked
