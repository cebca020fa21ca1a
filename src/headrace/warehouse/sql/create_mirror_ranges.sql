-- The ranges of pages that a copy has brought over, so that a restart goes on with the others.
CREATE TABLE IF NOT EXISTS headrace.mirror_ranges (
    source String,
    stem String, -- of the table's names, see create_mirrors.sql
    generation UInt32,
    leaf UInt32, -- oid of the table, or of the partition
    page_begin UInt64,
    page_end UInt64,
    rows UInt64,
    bytes UInt64,
    copied_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree
ORDER BY (source, stem, generation, leaf, page_begin)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
