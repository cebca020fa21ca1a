-- title: Distance run per month
-- description: Kilometres of each calendar month, and the number of workouts behind them.
-- parameter user_id: One user; empty means everyone.
-- default user_id: ''
-- parameter from: The first moment that counts.
-- default from: now - 365d
-- parameter to: The moment before which it happened.
-- default to: now
-- parameter type: The kind of workout.
-- default type: run
SELECT toStartOfMonth(logged_at) AS month, round(sum(distance_km), 1) AS km, count() AS workouts
FROM workouts_view
WHERE type = {type:String}
  AND ({user_id:String} = '' OR user_id = {user_id:String})
  AND logged_at >= toStartOfMonth({from:DateTime64(6)})
  AND logged_at < {to:DateTime64(6)}
GROUP BY month
ORDER BY month
