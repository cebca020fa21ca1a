-- title: Churn per week
-- description: Of the subscriptions that ran when the week began (Monday, UTC), the share that ended within it.
-- parameter weeks: How many weeks, this one included.
-- default weeks: 8
-- parameter now: The moment that the last week holds.
-- default now: now
SELECT
  week,
  countIf(ran) AS running,
  countIf(started_at >= week AND started_at < week + INTERVAL 7 DAY) AS started,
  countIf(ran AND ended_at < week + INTERVAL 7 DAY) AS ended,
  if(running = 0, NULL, round(100 * ended / running, 1)) AS churn_percent
FROM (
  SELECT
    started_at,
    ended_at,
    toDateTime64(toStartOfWeek({now:DateTime64(6)}, 1), 6, 'UTC') - toIntervalWeek(arrayJoin(range({weeks:UInt8}))) AS week,
    started_at < week AND (ended_at IS NULL OR ended_at >= week) AS ran
  FROM shop_subscriptions
)
GROUP BY week
ORDER BY week
