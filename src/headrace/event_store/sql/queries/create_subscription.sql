-- A new subscription, before the first event or behind the last one; an existing one stays where it is.
INSERT INTO headrace.subscriptions (name, checkpoint)
VALUES (%(name)s, jsonb_build_object('seen', CASE WHEN %(from_now)s THEN pg_current_snapshot()::text ELSE '1:1:' END))
ON CONFLICT (name) DO NOTHING
