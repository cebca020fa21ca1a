-- These types, and those that they are made of: what a domain is over, what an array has as elements.
WITH RECURSIVE made_of AS (
    SELECT unnest(%(oids)s::oid[]) AS oid
    UNION
    SELECT part.oid
    FROM made_of
    JOIN pg_type t ON t.oid = made_of.oid
    CROSS JOIN LATERAL (VALUES (t.typbasetype), (t.typelem)) AS part (oid)
    WHERE part.oid <> 0
)
SELECT
    t.oid::bigint AS oid,
    n.nspname::text AS schema,
    t.typname::text AS name,
    t.typtype::text AS kind,
    t.typbasetype::bigint AS domain_of,
    t.typtypmod AS domain_typmod,
    -- Vectors and points have elements too, but are not written as arrays.
    CASE WHEN t.typinput = 'array_in'::regproc THEN t.typelem::bigint END AS array_of,
    t.typdelim::text AS delimiter
FROM made_of
JOIN pg_type t ON t.oid = made_of.oid
JOIN pg_namespace n ON n.oid = t.typnamespace
