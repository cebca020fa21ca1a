-- Every table of the database that is not PostgreSQL's own or Headrace's, and what it is.
SELECT
    c.oid::bigint AS oid,
    n.nspname::text AS schema,
    c.relname::text AS name,
    c.relkind::text AS kind,
    c.relpersistence::text AS persistence,
    (
        SELECT format('%%s.%%s', pn.nspname, p.relname)
        FROM pg_class p JOIN pg_namespace pn ON pn.oid = p.relnamespace
        WHERE c.relispartition AND p.oid = pg_partition_root(c.oid)
    ) AS root,
    (
        SELECT e.extname::text
        FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
          AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
    ) AS extension
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND n.nspname NOT IN ('information_schema', 'headrace')
  AND n.nspname NOT LIKE 'pg\_%%'
ORDER BY n.nspname, c.relname
