-- The columns of a key, in its order: the type, and whether PostgreSQL orders their texts by bytes.
SELECT a.attname::text AS name,
       format_type(a.atttypid, -1) AS type_name,
       CASE
           WHEN a.attcollation = 0 THEN true
           WHEN c.collname = 'default' THEN
               CASE coalesce(to_jsonb(d) ->> 'datlocprovider', 'c')
                   WHEN 'b' THEN true
                   WHEN 'c' THEN d.datcollate IN ('C', 'POSIX')
                   ELSE false
               END
           ELSE c.collname IN ('C', 'POSIX') AND c.collnamespace = 'pg_catalog'::regnamespace
       END AS byte_order
FROM unnest(%(names)s::text[]) WITH ORDINALITY AS k (name, place)
JOIN pg_attribute a ON a.attrelid = %(oid)s AND a.attname = k.name AND NOT a.attisdropped
CROSS JOIN (SELECT * FROM pg_database WHERE datname = current_database()) AS d
LEFT JOIN pg_collation c ON c.oid = a.attcollation
ORDER BY k.place
