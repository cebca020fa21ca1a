-- title: Totals
-- description: Workouts, kilometres and hours of training.
-- parameter user_id: One user; empty means everyone.
-- default user_id: ''
-- parameter from: The first moment that counts.
-- default from: now - 365d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT
  count() AS workouts,
  uniqExact(user_id) AS users,
  round(sum(distance_km)) AS km,
  round(sum(duration_seconds) / 3600) AS hours
FROM workouts_view
WHERE ({user_id:String} = '' OR user_id = {user_id:String})
  AND logged_at >= {from:DateTime64(6)}
  AND logged_at < {to:DateTime64(6)}
