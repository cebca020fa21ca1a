-- The rows of which a comparison found that they differ: what a repair brings over again.
CREATE TABLE IF NOT EXISTS headrace.mirror_differences (
    source String,
    name String,
    run String, -- a UUID
    key Array(String), -- as PostgreSQL writes it
    kind LowCardinality(String), -- missing, extra, changed, unsettled
    columns Array(String) -- of the first ones that are changed
)
ENGINE = ReplacingMergeTree
ORDER BY (source, name, run, key)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
