-- What somebody asks of a mirrored table: add, remove, pause, resume, resync, repair. The worker carries it out and then
-- writes the request again without a wish. The newest row of a name counts.
CREATE TABLE IF NOT EXISTS headrace.mirror_requests (
    source String,
    name String, -- schema.table in PostgreSQL
    wish LowCardinality(String),
    answer String,
    changed_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree -- the row inserted last counts; a clock may step back
ORDER BY (source, name)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
