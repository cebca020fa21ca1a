-- One page of what was recorded in a period, after an event of it; of one category or one type where these are given.
--
-- Read along the index on recorded_at, sorting only what was recorded at the same time, so that a page costs its own rows
-- and not the rest of the period. Left alone, the planner guesses that the conditions keep next to nothing, and sorts
-- the whole rest for each page: 400,000 events took 34 s instead of 2.
CREATE OR REPLACE FUNCTION headrace.read_period(
    period_start timestamptz, period_end timestamptz, after_stream text, after_version bigint,
    wanted_category text, wanted_type text, rows_max bigint
)
RETURNS SETOF headrace.events LANGUAGE sql STABLE
SET enable_sort = off SET enable_bitmapscan = off SET enable_seqscan = off AS $$
    SELECT *
    FROM headrace.events
    WHERE recorded_at >= period_start AND recorded_at < period_end
      AND (recorded_at, stream, version) > (period_start, after_stream, after_version)
      AND (wanted_category IS NULL OR split_part(stream, '-', 1) = wanted_category)
      AND (wanted_type IS NULL OR type = wanted_type)
    ORDER BY recorded_at, stream, version
    LIMIT rows_max
$$;
