-- Those of the tables that the publication does not publish in any way: by name, with their schema, or with all tables.
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%(oids)s::oid[])
  AND NOT EXISTS (
      SELECT FROM pg_publication_tables t
      WHERE t.pubname = %(publication)s AND t.schemaname = n.nspname AND t.tablename = c.relname
  )
ORDER BY n.nspname, c.relname
