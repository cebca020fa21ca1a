-- The streams and tables that exist, as text, and how far each is. The newest row of a name counts.
-- A row with `wanted` alone asks the worker for a change; the worker answers with the state it reached.
CREATE TABLE IF NOT EXISTS headrace.definitions (
    source String,
    name String,
    revision UInt64,
    statement String,
    fingerprint String,
    state LowCardinality(String),
    applied_batch UInt64,
    problem String,
    changed_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (source, name)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
