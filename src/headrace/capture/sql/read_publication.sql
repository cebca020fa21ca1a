-- The publication, what it publishes, and what its comment says of the slot that reads it.
SELECT
    p.pubinsert AS inserts,
    obj_description(p.oid, 'pg_publication') AS comment,
    ARRAY(
        SELECT format('%%s.%%s', t.schemaname, t.tablename) FROM pg_publication_tables t WHERE t.pubname = p.pubname
    ) AS tables
FROM pg_publication p
WHERE p.pubname = %(publication)s
