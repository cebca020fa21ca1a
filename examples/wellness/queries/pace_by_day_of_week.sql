-- title: Running pace by day of the week
-- description: Minutes for a kilometre, month by month, for each day of the week in the user's own time zone.
-- parameter user_id: One user; empty means everyone.
-- default user_id: ''
-- parameter from: The first moment that counts.
-- default from: now - 365d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT
  toStartOfMonth(logged_at) AS month,
  day_of_week,
  round(sum(duration_seconds) / 60 / sum(distance_km), 2) AS pace,
  count() AS runs
FROM workouts_view
WHERE type = 'run' AND distance_km > 0
  AND ({user_id:String} = '' OR user_id = {user_id:String})
  AND logged_at >= toStartOfMonth({from:DateTime64(6)})
  AND logged_at < {to:DateTime64(6)}
GROUP BY month, day_of_week
ORDER BY
  month,
  indexOf(['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'], day_of_week)
