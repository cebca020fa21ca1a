-- title: Workouts per minute
-- description: What is being logged now: the last half hour, minute by minute.
-- parameter user_id: One user; empty means everyone.
-- default user_id: ''
-- parameter since: The first moment that counts.
-- default since: now - 30m
-- parameter now: The moment before which it happened.
-- default now: now
SELECT toStartOfMinute(logged_at) AS minute, count() AS workouts
FROM workouts_view
WHERE ({user_id:String} = '' OR user_id = {user_id:String})
  AND logged_at >= {since:DateTime64(6)}
  AND logged_at < {now:DateTime64(6)}
GROUP BY minute
ORDER BY minute WITH FILL
  FROM toStartOfMinute({since:DateTime64(6)}) TO toStartOfMinute({now:DateTime64(6)}) + INTERVAL 1 MINUTE
  STEP INTERVAL 1 MINUTE
