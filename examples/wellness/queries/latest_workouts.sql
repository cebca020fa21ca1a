-- title: Latest workouts
-- description: What was logged last.
-- parameter user_id: One user; empty means everyone.
-- default user_id: ''
-- parameter count: How many.
-- default count: 8
SELECT logged_at, user_id AS user, type, round(duration_seconds / 60) AS minutes, round(distance_km, 1) AS km
FROM workouts_view
WHERE {user_id:String} = '' OR user_id = {user_id:String}
ORDER BY logged_at DESC, user
LIMIT {count:UInt16}
