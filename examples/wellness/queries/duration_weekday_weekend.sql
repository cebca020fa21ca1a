-- title: Workout duration, weekdays and weekends
-- description: How long a workout takes on either side of the week, in each user's own time zone.
-- parameter user_id: One user; empty means everyone.
-- default user_id: ''
-- parameter from: The first moment that counts.
-- default from: now - 365d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT
  type,
  if(is_weekend, 'weekend', 'weekday') AS part_of_week,
  round(avg(duration_seconds) / 60, 1) AS minutes,
  count() AS workouts
FROM workouts_view
WHERE ({user_id:String} = '' OR user_id = {user_id:String})
  AND logged_at >= {from:DateTime64(6)}
  AND logged_at < {to:DateTime64(6)}
GROUP BY type, part_of_week
ORDER BY type, part_of_week
