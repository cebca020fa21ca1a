INSERT INTO headrace.scheduled_commands (command_id, due_at, subscription, command, data, metadata)
VALUES (%(command_id)s, now() + %(after)s, %(subscription)s, %(command)s, %(data)s, %(metadata)s)
ON CONFLICT (command_id) DO NOTHING
