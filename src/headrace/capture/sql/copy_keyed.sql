-- The rows with the given keys, as they are copied.
COPY (SELECT {columns} FROM {wanted} JOIN {table} ON {on}) TO STDOUT
