-- Whether some event has a transaction number that this server has not given out yet: then it gave out none of them.
SELECT EXISTS (
    SELECT 1 FROM headrace.events WHERE transaction_id >= pg_snapshot_xmax(pg_current_snapshot())
) AS is_restored
