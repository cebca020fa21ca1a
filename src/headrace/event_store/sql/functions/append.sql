-- Many appends in one call, each with its own outcome; they commit together.
--
-- `appends` is an array of
--     {"command_id", "fingerprint", "metadata", "condition": {"criteria": [{"types", "tags"}], "after"},
--      "keys", "parts": [{"stream", "expected", "events": [{"type", "schema_version", "data", "tags"}]}]}
-- where expected is the version the stream must have (0: must not exist; null: any) and keys are the ids of the subject
-- keys that its events are sealed with; command_id, condition, keys and tags may be null. The parts of one append are
-- written together or not at all. No stream and no command_id may stand in a call twice, and no append in it may match
-- the condition of another: both would be judged before either is written.
--
-- One row comes back for each part, in the same order:
--     appended   first_version to last_version were written (none, if there were no events)
--     duplicate  this command_id was appended before; the rows are its first result
--     mismatch   this command_id was appended before, by another request or to another number of streams; nothing was
--                written
--     conflict   a stream of the append is not at the version expected; nothing was written
--     overtaken  an event matches the condition that `after` had not seen; nothing was written
--     forgotten  one of its keys has been deleted; nothing was written
--
-- Races: everything named is locked first, in the order of the lock keys, so two calls never wait for each other in a
-- circle, and whoever waited sees what the other committed (each statement here has a snapshot of its own, which is why
-- READ COMMITTED is required). Two names with one hash share a lock, which costs a wait and nothing else.
--
-- A subject key cannot be deleted meanwhile: its events carry their subject as a tag, and who forgets holds that alone.
--
-- Streams and command ids are held alone. Of a condition, one name that every matching event touches is held alone: a
-- tag, else each type, else everything; what an append writes it touches, and touching is shared. So conditional appends
-- take turns with whatever could match them, and with nothing else. Bulk appends name no tags: see lock_streams.sql.
CREATE OR REPLACE FUNCTION headrace.append(appends jsonb)
RETURNS TABLE (
    outcome text, stream text, expected bigint, first_version bigint, last_version bigint, actual bigint, types text[]
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'headrace.append needs READ COMMITTED, not %', upper(current_setting('transaction_isolation'));
    END IF;

    PERFORM CASE WHEN named.alone THEN pg_advisory_xact_lock(named.key) ELSE pg_advisory_xact_lock_shared(named.key) END
    FROM (
        SELECT lock.key, bool_or(lock.alone) AS alone
        FROM headrace.append_locks(appends) AS lock
        GROUP BY lock.key
        ORDER BY lock.key
    ) AS named;

    -- Most calls hold nothing but events for one stream each. For them a statement of a third the size does the same.
    IF NOT appends @? '$[*] ? (@.command_id != null || @.condition != null || exists (@.keys) || @.parts.size() > 1
                               || exists (@.parts[*].events[*].tags))' THEN
        RETURN QUERY
        WITH part AS MATERIALIZED (
            SELECT one.number, one.metadata, part.stream, part.expected, part.events, now.version AS actual,
                   part.expected IS NULL OR part.expected = now.version AS fits
            FROM ROWS FROM (jsonb_to_recordset(appends) AS (metadata jsonb, parts jsonb))
                WITH ORDINALITY AS one (metadata, parts, number)
            CROSS JOIN LATERAL jsonb_to_record(one.parts -> 0) AS part (stream text, expected bigint, events jsonb)
            CROSS JOIN LATERAL (
                SELECT coalesce((SELECT events.version FROM headrace.events
                                 WHERE events.stream = part.stream ORDER BY events.version DESC LIMIT 1), 0) AS version
            ) AS now
        ),
        written AS (
            INSERT INTO headrace.events (ordinal, stream, version, type, schema_version, data, metadata)
            SELECT row_number() OVER (ORDER BY part.number, event.ordinal) - 1, part.stream,
                   part.actual + event.ordinal, event.type, event.schema_version, event.data,
                   coalesce(part.metadata, '{}')
            FROM part
            CROSS JOIN LATERAL ROWS FROM (
                jsonb_to_recordset(part.events) AS (type text, schema_version integer, data jsonb)
            ) WITH ORDINALITY AS event (type, schema_version, data, ordinal)
            WHERE part.fits
        )
        SELECT CASE WHEN part.fits THEN 'appended' ELSE 'conflict' END, part.stream, part.expected,
               CASE WHEN part.fits THEN part.actual + 1 END,
               CASE WHEN part.fits THEN part.actual + jsonb_array_length(part.events) END,
               part.actual, NULL::text[]
        FROM part ORDER BY part.number;
        RETURN;
    END IF;

    RETURN QUERY
    WITH one AS MATERIALIZED (
        SELECT *
        FROM ROWS FROM (
            jsonb_to_recordset(appends) AS (
                command_id uuid, fingerprint bigint, metadata jsonb, condition jsonb, parts jsonb, keys uuid[]
            )
        ) WITH ORDINALITY AS one (command_id, fingerprint, metadata, condition, parts, keys, number)
    ),
    part AS MATERIALIZED (
        SELECT one.number, part.stream, part.expected, part.events, part.place, now.version AS actual
        FROM one
        CROSS JOIN LATERAL ROWS FROM (
            jsonb_to_recordset(one.parts) AS (stream text, expected bigint, events jsonb)
        ) WITH ORDINALITY AS part (stream, expected, events, place)
        CROSS JOIN LATERAL (
            SELECT coalesce((SELECT events.version FROM headrace.events
                             WHERE events.stream = part.stream ORDER BY events.version DESC LIMIT 1), 0) AS version
        ) AS now
    ),
    fitting AS (
        SELECT part.number, bool_and(part.expected IS NULL OR part.expected = part.actual) AS fits
        FROM part GROUP BY part.number
    ),
    judged AS MATERIALIZED (
        SELECT one.number, one.command_id, one.fingerprint, one.metadata,
               CASE WHEN done.fingerprint = one.fingerprint AND done.parts = jsonb_array_length(one.parts)
                        THEN 'duplicate'
                    WHEN done.fingerprint IS NOT NULL THEN 'mismatch'
                    WHEN NOT fitting.fits THEN 'conflict'
                    WHEN one.condition IS NOT NULL AND headrace.is_matched(one.condition) THEN 'overtaken'
                    WHEN one.keys IS NOT NULL AND EXISTS (
                        SELECT FROM unnest(one.keys) AS needed (id)
                        WHERE NOT EXISTS (SELECT FROM headrace.subject_keys WHERE subject_keys.id = needed.id)
                    ) THEN 'forgotten'
                    ELSE 'appended' END AS outcome
        FROM one
        JOIN fitting ON fitting.number = one.number
        CROSS JOIN LATERAL (
            SELECT min(results.fingerprint) AS fingerprint, count(*) AS parts
            FROM headrace.command_results AS results WHERE results.command_id = one.command_id
        ) AS done
    ),
    written AS (
        INSERT INTO headrace.events (ordinal, stream, version, type, schema_version, data, metadata, tags)
        SELECT row_number() OVER (ORDER BY part.number, part.place, event.ordinal) - 1,
               part.stream, part.actual + event.ordinal, event.type, event.schema_version, event.data,
               coalesce(judged.metadata, '{}'), coalesce(event.tags, '{}')
        FROM judged
        JOIN part ON part.number = judged.number
        CROSS JOIN LATERAL ROWS FROM (
            jsonb_to_recordset(part.events) AS (type text, schema_version integer, data jsonb, tags text[])
        ) WITH ORDINALITY AS event (type, schema_version, data, tags, ordinal)
        WHERE judged.outcome = 'appended'
        RETURNING events.transaction_id, events.ordinal, events.stream, events.version, events.tags
    ),
    tagged AS (
        INSERT INTO headrace.event_tags (tag, transaction_id, ordinal, stream, version)
        SELECT DISTINCT tag.name, written.transaction_id, written.ordinal, written.stream, written.version
        FROM written CROSS JOIN LATERAL unnest(written.tags) AS tag (name)
    ),
    remembered AS (
        INSERT INTO headrace.command_results (command_id, place, first_version, last_version, fingerprint, stream)
        SELECT judged.command_id, part.place, part.actual + 1, part.actual + jsonb_array_length(part.events),
               judged.fingerprint, part.stream
        FROM judged JOIN part ON part.number = judged.number
        WHERE judged.outcome = 'appended' AND judged.command_id IS NOT NULL
    )
    SELECT judged.outcome, coalesce(done.stream, part.stream), part.expected,
           CASE judged.outcome WHEN 'appended' THEN part.actual + 1
                               WHEN 'duplicate' THEN done.first_version END,
           CASE judged.outcome WHEN 'appended' THEN part.actual + jsonb_array_length(part.events)
                               WHEN 'duplicate' THEN done.last_version END,
           part.actual,
           CASE judged.outcome WHEN 'duplicate' THEN
               ARRAY(SELECT events.type FROM headrace.events
                     WHERE events.stream = done.stream
                       AND events.version BETWEEN done.first_version AND done.last_version
                     ORDER BY events.version) END
    FROM judged
    JOIN part ON part.number = judged.number
    LEFT JOIN LATERAL (
        SELECT results.stream, results.first_version, results.last_version
        FROM headrace.command_results AS results
        WHERE judged.outcome = 'duplicate' AND results.command_id = judged.command_id AND results.place = part.place
        LIMIT 1  -- one look-up each; a join would read the whole table
    ) AS done ON true
    ORDER BY part.number, part.place;
END
$$;
