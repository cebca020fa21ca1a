-- title: Calories per week
-- description: What one person eats on a day with meals, averaged over each week (which begins on Monday).
-- parameter user_id: One user; empty means everyone.
-- default user_id: ''
-- parameter from: The first moment that counts.
-- default from: now - 365d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT toStartOfWeek(day, 1) AS week, round(avg(calories_of_day)) AS calories_per_day, uniqExact(user_id) AS users
FROM (
  SELECT user_id, toDate(logged_at) AS day, sum(calories) AS calories_of_day
  FROM meals_view
  WHERE ({user_id:String} = '' OR user_id = {user_id:String})
    AND logged_at >= toStartOfWeek({from:DateTime64(6)}, 1)
    AND logged_at < {to:DateTime64(6)}
  GROUP BY user_id, day
)
GROUP BY week
ORDER BY week
