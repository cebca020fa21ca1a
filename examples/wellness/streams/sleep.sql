CREATE TABLE sleep_view AS
  SELECT id, user_id,
         argMax(started_at, _version) AS started_at,
         argMax(ended_at, _version) AS ended_at,
         dateDiff('minute', argMax(started_at, _version), argMax(ended_at, _version)) AS duration_minutes,
         toDate(argMax(ended_at + toIntervalMinute(utc_offset_minutes), _version)) AS night
  FROM SleepLogged
  GROUP BY user_id, id
  EMIT CHANGES;
