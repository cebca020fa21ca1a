-- One page of what was recorded in a period, after an event of it; of one category or one type where these are given.
-- The index finds the time; what was recorded at the same one is sorted by stream and version.
SELECT stream, version, type, schema_version, data, metadata, recorded_at
FROM headrace.events
WHERE recorded_at >= %(start)s AND recorded_at < %(end)s
  AND (recorded_at, stream, version) > (%(start)s, %(stream)s, %(version)s)
  AND (%(category)s::text IS NULL OR split_part(stream, '-', 1) = %(category)s)
  AND (%(type)s::text IS NULL OR type = %(type)s)
ORDER BY recorded_at, stream, version
LIMIT %(rows_max)s
