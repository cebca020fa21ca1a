-- The rows of a range of pages. PostgreSQL reads no other pages for it.
COPY (SELECT {columns} FROM ONLY {table} WHERE {range}{where}) TO STDOUT
