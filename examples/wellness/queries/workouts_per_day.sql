-- title: Workouts per day
-- description: Workouts, and the people behind them, by day (UTC), the first day in full.
-- parameter user_id: One user; empty means everyone.
-- default user_id: ''
-- parameter from: The first moment that counts.
-- default from: now - 365d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT toDate(logged_at) AS day, count() AS workouts, uniqExact(user_id) AS users
FROM workouts_view
WHERE ({user_id:String} = '' OR user_id = {user_id:String})
  AND logged_at >= toStartOfDay({from:DateTime64(6)})
  AND logged_at < {to:DateTime64(6)}
GROUP BY day
ORDER BY day
