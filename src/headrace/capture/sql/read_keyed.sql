-- The rows with the given keys.
WITH page AS MATERIALIZED (
    SELECT {named}, {hash} AS h
    FROM {wanted}
    JOIN {table} ON {on}
)
SELECT count(*) AS rows, coalesce(sum(h), 0) AS total, NULL AS last, {listed} AS listed
FROM page
