-- Comparisons of mirrored tables with their sources; the row with the highest revision of a run counts.
CREATE TABLE IF NOT EXISTS headrace.mirror_verifications (
    source String,
    name String, -- of the mirrored table
    run String, -- a UUID
    revision UInt64,
    stem String, -- with the generation: what was compared, see create_mirrors.sql
    generation UInt32,
    state LowCardinality(String), -- running, stopped, clean, different, unsettled
    phase LowCardinality(String), -- where it goes on
    after_key Array(String), -- behind which key; empty: from the start
    rows UInt64,
    missing UInt64,
    extra UInt64,
    changed UInt64,
    unsettled UInt64,
    began_at DateTime64(6, 'UTC'),
    written_at DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (source, name, run)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
