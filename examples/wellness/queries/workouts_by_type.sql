-- title: Workouts by type
-- description: The question of the article: total distance and average duration of each type of workout.
-- parameter user_id: One user; empty means everyone.
-- default user_id: ''
-- parameter from: The first moment that counts.
-- default from: now - 365d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT
  type,
  count() AS workouts,
  round(sum(distance_km)) AS total_distance,
  round(avg(duration_seconds) / 60, 1) AS avg_duration_minutes
FROM workouts_view
WHERE ({user_id:String} = '' OR user_id = {user_id:String})
  AND logged_at >= {from:DateTime64(6)}
  AND logged_at < {to:DateTime64(6)}
GROUP BY type
ORDER BY workouts DESC, type
