-- The mirrored tables of a source and how far each is; the row with the highest revision of a name counts.
CREATE TABLE IF NOT EXISTS headrace.mirrors (
    source String,
    name String,
    revision UInt64,
    generation UInt32,
    schema_name String,
    table_name String,
    oid UInt32,
    state LowCardinality(String),
    shape String, -- JSON
    floor_lsn UInt64, -- the copy holds every commit up to it; 0: not known yet
    filenode UInt64, -- the file that the copy reads
    snapshot String, -- the one in which a table without a key was copied
    since_batch UInt64, -- the change stream begins with it; 0: it was never live
    applied_batch UInt64, -- staged changes are applied up to it, while the table is not live
    problem String,
    stem String, -- the names of the tables behind it begin so
    changed_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (source, name)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
