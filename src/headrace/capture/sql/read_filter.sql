-- How a publication publishes a table, which it has by name, after its condition for rows was set: whether it filters
-- them, and which columns of the condition are not part of the replica identity. PostgreSQL refuses every UPDATE and
-- DELETE of the application on a table that has such a column in its condition.
SELECT
    EXISTS (
        SELECT FROM pg_publication_tables t
        WHERE t.pubname = p.pubname AND t.schemaname = n.nspname AND t.tablename = c.relname AND t.rowfilter IS NOT NULL
    ) AS filtered,
    ARRAY(
        SELECT a.attname::text
        FROM pg_depend d
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_publication_rel'::regclass AND d.objid = r.oid
          AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid > 0
          AND (p.pubupdate OR p.pubdelete) AND c.relreplident <> 'f'
          AND NOT EXISTS (
              SELECT FROM pg_index i
              WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
                AND ((c.relreplident = 'd' AND i.indisprimary) OR (c.relreplident = 'i' AND i.indisreplident))
          )
        ORDER BY a.attname
    ) AS outside
FROM pg_publication p
JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = %(publication)s AND n.nspname = %(schema)s AND c.relname = %(name)s
