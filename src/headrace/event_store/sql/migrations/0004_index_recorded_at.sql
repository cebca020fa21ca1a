-- For reading what was recorded in a period. The time alone: it mostly grows, so an entry goes to the last page of the
-- index, and one transaction's equal times are stored once.
CREATE INDEX events_recorded_at ON headrace.events (recorded_at);
