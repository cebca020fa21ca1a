-- A page of rows in the order of the key: how many, the sum of their hashes, and the last key.
WITH page AS MATERIALIZED (
    SELECT {named}, {hash} AS h, row_number() OVER (ORDER BY {keys}) AS place
    FROM {table}
    {where}
    ORDER BY {keys}
    LIMIT %(rows_max)s::bigint
)
SELECT count(*) AS rows, coalesce(sum(h), 0) AS total,
       (SELECT ARRAY[{last}] FROM page ORDER BY place DESC LIMIT 1) AS last,
       {listed} AS listed
FROM page
