-- Tables, and how the publication publishes them: in any way at all (by name, with their schema, with all tables), by
-- name, and by name with a condition for rows; and whether the other publication has them by name. Conditions exist from
-- 15 on.
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name,
       EXISTS (
           SELECT FROM pg_publication_tables t
           WHERE t.pubname = %(publication)s AND t.schemaname = n.nspname AND t.tablename = c.relname
       ) AS published,
       r.oid IS NOT NULL AS by_name,
       to_jsonb(r) ->> 'prqual' IS NOT NULL AS filtered,
       EXISTS (
           SELECT FROM pg_publication_rel o
           JOIN pg_publication p ON p.oid = o.prpubid
           WHERE p.pubname = %(other)s AND o.prrelid = c.oid
       ) AS by_name_in_other
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN (pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid AND p.pubname = %(publication)s)
    ON r.prrelid = c.oid
WHERE c.oid = ANY (%(oids)s::oid[])
ORDER BY n.nspname, c.relname
