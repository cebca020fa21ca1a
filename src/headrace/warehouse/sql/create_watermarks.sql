-- The highest position up to which every read model of a source is complete. Only ever grows.
CREATE TABLE IF NOT EXISTS headrace.watermarks (
    source String,
    batch UInt64,
    lsn UInt64,
    ordinal UInt32,
    committed_at DateTime64(6, 'UTC'),
    written_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(lsn) -- never by a clock, which may step back
ORDER BY source
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
