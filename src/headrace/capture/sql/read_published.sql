-- Those of the tables that these publications have by name, once for each publication.
SELECT p.pubname::text AS publication, c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name
FROM pg_publication p
JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = ANY (%(publications)s) AND c.oid = ANY (%(oids)s::oid[])
ORDER BY p.pubname, n.nspname, c.relname
