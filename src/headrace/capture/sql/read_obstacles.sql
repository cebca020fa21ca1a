-- What the server would refuse to do with these tables and their leaves, one row for each; and what keeps a row's old
-- key out of the log. The publication's columns and conditions for a table exist from 15 on.
SELECT
    t.oid::bigint AS root_oid,
    c.oid::bigint AS oid,
    format('%%I.%%I', n.nspname, c.relname) AS name,
    quote_ident(current_user) AS role,
    quote_ident(pg_get_userbyid(c.relowner)) AS owner,
    quote_ident(n.nspname) AS schema,
    has_schema_privilege(n.oid, 'USAGE') AS may_use_schema,
    has_table_privilege(c.oid, 'SELECT') AS may_select,
    pg_has_role(c.relowner, 'USAGE') AS owns,
    row_security_active(c.oid) AS rls_active,
    EXISTS (
        SELECT FROM pg_publication_tables p
        WHERE p.pubname = ANY (%(publications)s) AND p.schemaname = n.nspname AND p.tablename = c.relname
    ) AS published,
    coalesce(narrowed.columns, false) AS has_column_list,
    coalesce(narrowed.rows, false) AS has_filter,
    current_setting('server_version_num')::int >= 150000 AS can_filter
FROM unnest(%(oids)s::oid[]) AS t (oid)
CROSS JOIN LATERAL (
    SELECT relid FROM pg_partition_tree(t.oid) WHERE isleaf
    UNION
    SELECT t.oid
) AS tree (oid)
JOIN pg_class c ON c.oid = tree.oid AND c.relkind <> 'f'
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT bool_or(to_jsonb(r) ->> 'prattrs' IS NOT NULL) AS columns, bool_or(to_jsonb(r) ->> 'prqual' IS NOT NULL) AS rows
    FROM pg_publication_rel r
    JOIN pg_publication p ON p.oid = r.prpubid
    WHERE p.pubname = ANY (%(publications)s) AND r.prrelid = c.oid
) AS narrowed
ORDER BY t.oid, c.oid <> t.oid, 3
