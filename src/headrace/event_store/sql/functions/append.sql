-- Many appends in one call, each with its own outcome; they commit together.
--
-- `appends` is an array of
--     {"stream", "expected", "command_id", "fingerprint", "metadata", "events": [{"type", "schema_version", "data"}]}
-- where expected is the version the stream must have (0: must not exist; null: any), and command_id may be null.
-- No stream and no command_id may stand in it twice. One row comes back for each, in the same order:
--     appended   first_version to last_version were written (none, if there were no events)
--     duplicate  this command_id was appended before; the row is its first result
--     mismatch   this command_id was appended before, by another request; nothing was written
--     conflict   the stream is at `actual`; nothing was written
--
-- Races: everything named is locked first, in the order of the lock keys, so two calls never wait for each other in a
-- circle, and whoever waited sees what the other committed (each statement here has a snapshot of its own, which is why
-- READ COMMITTED is required). Two names with one hash share a lock, which costs a wait and nothing else.
--
-- Sequential scans are off because a plan made while the tables were empty lives as long as its connection.
CREATE OR REPLACE FUNCTION headrace.append(appends jsonb)
RETURNS TABLE (outcome text, stream text, first_version bigint, last_version bigint, actual bigint, types text[])
LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'headrace.append needs READ COMMITTED, not %', upper(current_setting('transaction_isolation'));
    END IF;

    PERFORM pg_advisory_xact_lock(locked.key)
    FROM (
        SELECT DISTINCT name.key
        FROM jsonb_array_elements(appends) AS one (append),
             LATERAL (VALUES (hashtextextended(append ->> 'stream', 0)),
                             (hashtextextended(append ->> 'command_id', 1))) AS name (key)
        WHERE name.key IS NOT NULL
        ORDER BY name.key
    ) AS locked;

    RETURN QUERY
    WITH wanted AS MATERIALIZED (
        SELECT *
        FROM ROWS FROM (
            jsonb_to_recordset(appends) AS (
                stream text, expected bigint, command_id uuid, fingerprint bigint, metadata jsonb, events jsonb
            )
        ) WITH ORDINALITY AS wanted (stream, expected, command_id, fingerprint, metadata, events, place)
    ),
    judged AS MATERIALIZED (
        SELECT wanted.*, now.version AS actual, done.stream AS done_stream, done.first_version, done.last_version,
               CASE WHEN done.fingerprint = wanted.fingerprint THEN 'duplicate'
                    WHEN done.fingerprint IS NOT NULL THEN 'mismatch'
                    WHEN wanted.expected IS NULL OR wanted.expected = now.version THEN 'appended'
                    ELSE 'conflict' END AS outcome
        FROM wanted
        CROSS JOIN LATERAL (
            SELECT coalesce((SELECT events.version FROM headrace.events
                             WHERE events.stream = wanted.stream ORDER BY events.version DESC LIMIT 1), 0) AS version
        ) AS now
        LEFT JOIN LATERAL (
            SELECT results.stream, results.first_version, results.last_version, results.fingerprint
            FROM headrace.command_results AS results WHERE results.command_id = wanted.command_id LIMIT 1
        ) AS done ON true
    ),
    written AS (
        INSERT INTO headrace.events (stream, version, type, schema_version, data, metadata)
        SELECT judged.stream, judged.actual + event.ordinal, event.type, event.schema_version, event.data,
               coalesce(judged.metadata, '{}')
        FROM judged
        CROSS JOIN LATERAL ROWS FROM (
            jsonb_to_recordset(judged.events) AS (type text, schema_version integer, data jsonb)
        ) WITH ORDINALITY AS event (type, schema_version, data, ordinal)
        WHERE judged.outcome = 'appended'
        ORDER BY judged.place, event.ordinal
    ),
    remembered AS (
        INSERT INTO headrace.command_results (command_id, first_version, last_version, fingerprint, stream)
        SELECT judged.command_id, judged.actual + 1, judged.actual + jsonb_array_length(judged.events),
               judged.fingerprint, judged.stream
        FROM judged WHERE judged.outcome = 'appended' AND judged.command_id IS NOT NULL
    )
    SELECT judged.outcome,
           CASE WHEN judged.outcome = 'duplicate' THEN judged.done_stream ELSE judged.stream END,
           CASE judged.outcome WHEN 'appended' THEN judged.actual + 1
                               WHEN 'duplicate' THEN judged.first_version END,
           CASE judged.outcome WHEN 'appended' THEN judged.actual + jsonb_array_length(judged.events)
                               WHEN 'duplicate' THEN judged.last_version END,
           judged.actual,
           CASE WHEN judged.outcome = 'duplicate' THEN
               ARRAY(SELECT events.type FROM headrace.events
                     WHERE events.stream = judged.done_stream
                       AND events.version BETWEEN judged.first_version AND judged.last_version
                     ORDER BY events.version) END
    FROM judged ORDER BY judged.place;
END
$$;
