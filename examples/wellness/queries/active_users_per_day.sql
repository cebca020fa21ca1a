-- title: Active users per day
-- description: People who logged a workout, a meal or a night's sleep, by day (UTC), the first day in full.
-- parameter user_id: One user; empty means everyone.
-- default user_id: ''
-- parameter from: The first moment that counts.
-- default from: now - 365d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT day, uniqExact(user_id) AS users
FROM (
  SELECT toDate(logged_at) AS day, user_id FROM workouts_view
  WHERE logged_at >= toStartOfDay({from:DateTime64(6)}) AND logged_at < {to:DateTime64(6)}
  UNION ALL
  SELECT toDate(logged_at) AS day, user_id FROM meals_view
  WHERE logged_at >= toStartOfDay({from:DateTime64(6)}) AND logged_at < {to:DateTime64(6)}
  UNION ALL
  SELECT toDate(ended_at) AS day, user_id FROM sleep_view
  WHERE ended_at >= toStartOfDay({from:DateTime64(6)}) AND ended_at < {to:DateTime64(6)}
)
WHERE {user_id:String} = '' OR user_id = {user_id:String}
GROUP BY day
ORDER BY day
