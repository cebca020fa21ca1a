-- For reading what was recorded in a period. Time mostly grows with the table, so a block range index finds the period
-- within some pages, and costs an append next to nothing; a B-tree would cost every append another entry.
CREATE INDEX events_recorded_at ON headrace.events USING brin (recorded_at) WITH (pages_per_range = 32, autosummarize = on);
