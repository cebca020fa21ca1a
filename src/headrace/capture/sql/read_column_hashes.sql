-- What tells which columns of a row differ.
SELECT ARRAY[{key}] AS key, ARRAY[{hashes}]::text[] AS hashes
FROM {wanted}
JOIN {table} ON {on}
