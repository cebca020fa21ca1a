-- The event log as loaded: one row per event of PostgreSQL's headrace.events. Event types are views over it, and
-- every stream and table is filled from it. Sorted by batch first, because advancing reads whole batches.
CREATE TABLE IF NOT EXISTS {database:Identifier}.events (
    stream String,
    version UInt64,
    type LowCardinality(String),
    schema_version UInt32,
    data String,
    metadata String,
    recorded_at DateTime64(6, 'UTC'),
    _lsn UInt64,
    _ordinal UInt32,
    _batch UInt64
)
ENGINE = MergeTree
ORDER BY (_batch, type, _lsn, _ordinal)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1
