-- headrace.append, committed, and then the position: one statement, so one round trip and no second one for the LSN.
--
-- Once COMMIT has returned, the log is flushed past this transaction's commit record, so the flush position covers it.
-- It may cover a little more; it never covers less. The byte before it is the last that is certain: the next
-- transaction's commit record may begin at the flush position itself.
CREATE OR REPLACE PROCEDURE headrace.append_durably(appends jsonb, INOUT outcomes json, INOUT flushed pg_lsn)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT json_agg(answer) INTO outcomes FROM headrace.append(appends) AS answer;
    COMMIT;
    flushed := pg_current_wal_flush_lsn() - 1;
END
$$;
