-- Tables as a mirror needs them. A partitioned table's files are those of its leaves. The columns are those that logical
-- replication sends: generated ones only when they are stored, and only from 18 on. There a not-null constraint can be
-- declared without having been checked. A key that can be deferred identifies no row: two
-- rows have the same one for a moment when `SET k = k + 1` moves the first before the second.
WITH leaves AS (
    SELECT t.oid AS root, l.oid, n.nspname AS schema, l.relname AS name, l.relkind AS kind,
           l.relpersistence AS persistence, l.relreplident AS identity, l.relfilenode AS filenode,
           greatest(l.reltuples, 0)::bigint AS rows_estimate,
           -- A foreign table has no file.
           coalesce(pg_relation_size(l.oid), 0) / current_setting('block_size')::int AS pages
    FROM unnest(%(oids)s::oid[]) AS t (oid)
    CROSS JOIN LATERAL (
        SELECT relid FROM pg_partition_tree(t.oid)
        UNION
        SELECT t.oid
    ) AS tree (oid)
    JOIN pg_class l ON l.oid = tree.oid AND l.relkind <> 'p'
    JOIN pg_namespace n ON n.oid = l.relnamespace
),
keys AS (
    SELECT i.indrelid AS oid, i.indisprimary, i.indisreplident, i.indimmediate,
           array_agg(a.attname::text ORDER BY k.place) AS names
    FROM pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE (i.indisprimary OR i.indisreplident) AND i.indisvalid AND k.place <= i.indnkeyatts
      AND i.indrelid IN (SELECT oid FROM leaves UNION SELECT unnest(%(oids)s::oid[]))
    GROUP BY i.indexrelid, i.indrelid, i.indisprimary, i.indisreplident, i.indimmediate
),
identities AS (
    SELECT c.oid, k.names
    FROM pg_class c JOIN keys k ON k.oid = c.oid AND k.indimmediate
    WHERE (c.relreplident = 'd' AND k.indisprimary) OR (c.relreplident = 'i' AND k.indisreplident)
)
SELECT
    c.oid::bigint AS oid,
    n.nspname::text AS schema,
    c.relname::text AS name,
    c.relkind::text AS kind,
    c.relreplident::text AS identity,
    c.relfilenode::bigint AS filenode,
    c.relrowsecurity AS rls,
    coalesce((SELECT names FROM identities i WHERE i.oid = c.oid), '{}') AS key,
    coalesce((SELECT names FROM keys k WHERE k.oid = c.oid AND k.indisprimary AND k.indimmediate), '{}') AS primary_key,
    (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'oid', l.oid::bigint, 'schema', l.schema, 'name', l.name, 'kind', l.kind, 'persistence', l.persistence,
            'identity', l.identity, 'key', coalesce((SELECT names FROM identities i WHERE i.oid = l.oid), '{}'),
            'filenode', l.filenode::bigint, 'pages', l.pages, 'rows_estimate', l.rows_estimate
        ) ORDER BY l.schema, l.name), '[]')
        FROM leaves l
        WHERE l.root = c.oid
    ) AS leaves,
    (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'name', a.attname,
            'attnum', a.attnum,
            'oid', a.atttypid::bigint,
            'typmod', a.atttypmod,
            'not_null', a.attnotnull AND NOT EXISTS (
                SELECT FROM pg_constraint o
                WHERE o.conrelid = a.attrelid AND o.contype = 'n' AND o.conkey = ARRAY[a.attnum] AND NOT o.convalidated
            ),
            'generated', a.attgenerated <> '',
            'has_default', a.atthasdef,
            'missing', CASE WHEN a.atthasmissing THEN array_to_string(a.attmissingval::text::text[], ',') END
        ) ORDER BY a.attnum), '[]')
        FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND (a.attgenerated = '' OR (a.attgenerated = 's' AND current_setting('server_version_num')::int >= 180000))
    ) AS columns
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%(oids)s::oid[]) AND c.relkind IN ('r', 'p')
ORDER BY n.nspname, c.relname
