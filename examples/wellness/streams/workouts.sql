-- The article's workouts_view: one row per workout, as it stands after the last correction.
-- Rows are in the order that dashboards ask in, and days are the person's own.
CREATE TABLE workouts_view AS
  SELECT id, user_id,
         argMax(type, _version) AS type,
         argMax(duration_seconds, _version) AS duration_seconds,
         argMax(tuple(distance_km), _version).1 AS distance_km,
         logged_at,
         formatDateTime(logged_at + toIntervalMinute(utc_offset_minutes), '%W') AS day_of_week,
         toUInt8(toDayOfWeek(logged_at + toIntervalMinute(utc_offset_minutes)) IN (6, 7)) AS is_weekend
  FROM WorkoutLogged
  GROUP BY user_id, logged_at, id, utc_offset_minutes
  EMIT CHANGES;

-- Every entry as it was logged, corrections left out: what people did, hour by hour.
CREATE STREAM workout_entries AS
  SELECT id, user_id, type, duration_seconds, distance_km, logged_at,
         toDate(logged_at + toIntervalMinute(utc_offset_minutes)) AS day
  FROM WorkoutLogged
  WHERE _type = 'WorkoutLogged'
  WITH (order_by = 'user_id, logged_at', partition_by = 'toYYYYMM(logged_at)');

CREATE TABLE workouts_per_day AS
  SELECT day, type, COUNT(*) AS workouts, uniq(user_id) AS people,
         MIN(duration_seconds) AS shortest_seconds, MAX(duration_seconds) AS longest_seconds
  FROM workout_entries
  GROUP BY day, type
  EMIT CHANGES;
