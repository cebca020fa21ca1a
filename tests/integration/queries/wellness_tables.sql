-- What the worker makes of examples/wellness/streams, for tests of the read side alone. Statements end with a line ;
CREATE TABLE workouts_view (
    id UUID, user_id String, type String, duration_seconds Int64, distance_km Nullable(Float64),
    logged_at DateTime64(6, 'UTC'), day_of_week String, is_weekend UInt8
) ENGINE = MergeTree ORDER BY (user_id, logged_at)
;
CREATE TABLE meals_view (
    id UUID, user_id String, name String, calories Int64,
    logged_at DateTime64(6, 'UTC'), day_of_week String, is_weekend UInt8
) ENGINE = MergeTree ORDER BY (user_id, logged_at)
;
CREATE TABLE sleep_view (
    id UUID, user_id String, started_at DateTime64(6, 'UTC'), ended_at DateTime64(6, 'UTC'),
    duration_minutes Int64, night Date32
) ENGINE = MergeTree ORDER BY (user_id, started_at)
;
INSERT INTO workouts_view
SELECT
    generateUUIDv4(number), 'user-' || toString(intDiv(number, 4) % 20), ['run', 'ride', 'swim', 'strength'][1 + number % 4],
    1500 + cityHash64(number) % 2400 + if(is_weekend, 900, 0) AS duration,
    if(number % 4 = 3, NULL, duration / ([330, 130, 1500][1 + number % 4] + sin(number / 400) * 12 - if(is_weekend, 8, 0))) AS distance,
    now64(6, 'UTC') - toIntervalMinute(number * 130 + cityHash64(number, 1) % 90) AS logged,
    dateName('weekday', logged), toDayOfWeek(logged) IN (6, 7) AS is_weekend
FROM numbers(4000)
;
INSERT INTO meals_view
SELECT
    generateUUIDv4(number), 'user-' || toString(number % 20), 'meal', 520 + cityHash64(number) % 300 + sin(number / 700) * 60,
    now64(6, 'UTC') - toIntervalMinute(number * 88) AS logged, dateName('weekday', logged), toDayOfWeek(logged) IN (6, 7)
FROM numbers(6000)
;
INSERT INTO sleep_view
SELECT
    generateUUIDv4(number), 'user-' || toString(number % 20), now64(6, 'UTC') - toIntervalHour(number * 2 + 8),
    now64(6, 'UTC') - toIntervalHour(number * 2), 400 + cityHash64(number) % 120 + sin(number / 300) * 20,
    toDate32(now('UTC') - toIntervalHour(number * 2))
FROM numbers(4380)
