-- title: Distance run per month
-- description: Kilometres of runs per calendar month.
-- parameter user_id: One user; empty means everyone.
-- default user_id: ''
-- parameter from: First moment that counts.
-- default from: now - 365d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT toStartOfMonth(logged_at) AS month, round(sum(distance_km), 1) AS km, count() AS runs
FROM workouts_view
WHERE type = 'run'
  AND ({user_id:String} = '' OR user_id = {user_id:String})
  AND logged_at >= {from:DateTime64(6)} AND logged_at < {to:DateTime64(6)}
GROUP BY month
ORDER BY month
