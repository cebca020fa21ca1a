-- Every batch is planned here before its first row is written. The plan of the last batch is what recovery repeats.
CREATE TABLE IF NOT EXISTS headrace.batches (
    source String,
    batch UInt64,
    first_lsn UInt64,
    first_ordinal UInt32,
    last_lsn UInt64,
    last_ordinal UInt32,
    changes UInt64,
    undecodable UInt64,
    committed_at DateTime64(6, 'UTC'),
    planned_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree
ORDER BY (source, batch)
TTL toDateTime(planned_at) + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
