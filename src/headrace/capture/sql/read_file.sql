-- Which table has this name now, and which file its rows are in. The caller holds a lock of it.
SELECT
    to_regclass(%(name)s)::oid::bigint AS oid,
    pg_relation_filenode(to_regclass(%(name)s))::bigint AS filenode
