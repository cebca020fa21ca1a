-- The publication, and which operations it publishes. Whether generated columns are in it is a column from 18 on.
SELECT
    array_remove(ARRAY[
        CASE WHEN p.pubinsert THEN 'insert' END,
        CASE WHEN p.pubupdate THEN 'update' END,
        CASE WHEN p.pubdelete THEN 'delete' END,
        CASE WHEN p.pubtruncate THEN 'truncate' END
    ], NULL) AS operations,
    p.pubviaroot AS via_root,
    to_jsonb(p) ->> 'pubgencols' AS generated,
    obj_description(p.oid, 'pg_publication') AS comment
FROM pg_publication p
WHERE p.pubname = %(publication)s
