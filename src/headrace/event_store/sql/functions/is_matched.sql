-- Whether an event matches one of the condition's criteria that the reader of `after` had not seen.
--
-- `after` is the pg_snapshot of the read; null: nothing was read. Snapshots and not numbers: a transaction that was
-- under way while the reader read may have a lower number than one that he saw.
CREATE OR REPLACE FUNCTION headrace.is_matched(condition jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    seen  pg_snapshot := coalesce(condition ->> 'after', '1:1:');
    first xid8 := pg_snapshot_xmin(seen);
    one   record;
BEGIN
    FOR one IN SELECT * FROM jsonb_to_recordset(condition -> 'criteria') AS one (types text[], tags text[]) LOOP
        IF cardinality(one.tags) > 0 THEN
            PERFORM FROM headrace.event_tags AS tagged JOIN headrace.events USING (stream, version)
            WHERE tagged.tag = one.tags[1]
              AND tagged.transaction_id >= first AND NOT pg_visible_in_snapshot(tagged.transaction_id, seen)
              AND events.tags @> one.tags
              AND (coalesce(cardinality(one.types), 0) = 0 OR events.type = ANY (one.types))
            LIMIT 1;
        ELSIF cardinality(one.types) > 0 THEN
            PERFORM FROM headrace.events
            WHERE events.type = ANY (one.types)
              AND events.transaction_id >= first AND NOT pg_visible_in_snapshot(events.transaction_id, seen)
            LIMIT 1;
        ELSE
            PERFORM FROM headrace.events
            WHERE events.transaction_id >= first AND NOT pg_visible_in_snapshot(events.transaction_id, seen)
            LIMIT 1;
        END IF;
        IF FOUND THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$$;
