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
SELECT month, round(sum(km), 1) AS km, sum(workouts) AS workouts
FROM distance_per_month
WHERE type = {type:String}
  AND ({user_id:String} = '' OR user_id = {user_id:String})
  AND month >= toStartOfMonth({from:DateTime64(6)})
  AND month < {to:DateTime64(6)}
GROUP BY month
ORDER BY month
