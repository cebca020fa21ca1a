-- One page of a stream, backwards: between two versions, of what was recorded in a period.
--
-- Read along the primary key, for the reason that read_period.sql has: left alone, the planner sorted the whole rest of a
-- long stream for each page.
CREATE OR REPLACE FUNCTION headrace.read_stream_backwards(
    wanted_stream text, after_version bigint, up_to_version bigint,
    period_start timestamptz, period_end timestamptz, rows_max bigint
)
RETURNS SETOF headrace.events LANGUAGE sql STABLE
SET enable_sort = off SET enable_bitmapscan = off SET enable_seqscan = off AS $$
    SELECT *
    FROM headrace.events
    WHERE stream = wanted_stream AND version > after_version AND version <= up_to_version
      AND recorded_at >= period_start AND recorded_at < period_end
    ORDER BY version DESC
    LIMIT rows_max
$$;
