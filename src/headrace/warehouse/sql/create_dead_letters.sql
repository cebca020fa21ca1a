-- Changes that could not be loaded into a target, with their raw bytes, until someone decides.
-- A decision is a newer row of the same key: status retry or discarded; a retry that went in is loaded.
CREATE TABLE IF NOT EXISTS headrace.dead_letters (
    source String,
    target String,
    lsn UInt64,
    ordinal UInt32,
    batch UInt64,
    status LowCardinality(String),
    reason String,
    raw String,
    changed_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree -- the row inserted last counts; a clock may step back
ORDER BY (source, target, lsn, ordinal)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1
