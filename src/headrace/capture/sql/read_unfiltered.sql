-- Those of the tables of which one of the publications publishes all rows: a condition in the other one does nothing then.
-- And those that none of them publishes any more. Conditions exist from 15 on.
SELECT c.oid::bigint AS oid
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_publication_tables t
    ON t.schemaname = n.nspname AND t.tablename = c.relname AND t.pubname = ANY (%(publications)s)
WHERE c.oid = ANY (%(oids)s::oid[])
GROUP BY c.oid
HAVING bool_or(to_jsonb(t) ->> 'rowfilter' IS NULL)
