-- A copy lasts as long as its reader or its writer at the other end takes.
SET LOCAL statement_timeout = 0
