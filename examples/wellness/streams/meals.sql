CREATE TABLE meals_view AS
  SELECT id, user_id,
         argMax(name, _version) AS name,
         argMax(calories, _version) AS calories,
         logged_at,
         formatDateTime(logged_at + toIntervalMinute(utc_offset_minutes), '%W') AS day_of_week,
         toUInt8(toDayOfWeek(logged_at + toIntervalMinute(utc_offset_minutes)) IN (6, 7)) AS is_weekend
  FROM MealAdded
  GROUP BY user_id, logged_at, id, utc_offset_minutes
  EMIT CHANGES;
