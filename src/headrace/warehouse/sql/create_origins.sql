-- The PostgreSQL server that a source is loaded from, and which of its histories; the row inserted last counts.
CREATE TABLE IF NOT EXISTS headrace.origins (
    source String,
    system UInt64,
    timeline UInt32,
    changed_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree -- the row inserted last counts; a clock may step back
ORDER BY source
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
