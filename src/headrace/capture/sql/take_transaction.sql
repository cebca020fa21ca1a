-- A transaction number above all that were given out before; the transaction that it is of ends with this statement.
SELECT pg_current_xact_id()::text::bigint AS transaction
