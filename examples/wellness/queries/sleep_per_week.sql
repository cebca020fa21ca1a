-- title: Sleep per week
-- description: Hours asleep in a night, averaged over each week.
-- parameter user_id: One user; empty means everyone.
-- default user_id: ''
-- parameter from: The first moment that counts.
-- default from: now - 365d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT toStartOfWeek(night, 1) AS week, round(avg(duration_minutes) / 60, 2) AS hours, count() AS nights
FROM sleep_view
WHERE ({user_id:String} = '' OR user_id = {user_id:String})
  AND ended_at >= toStartOfWeek({from:DateTime64(6)}, 1)
  AND ended_at < {to:DateTime64(6)}
GROUP BY week
ORDER BY week
