-- `after` null: never again by itself.
UPDATE headrace.scheduled_commands
SET due_at = coalesce(now() + %(after)s::interval, 'infinity'), problem = %(problem)s
WHERE command_id = %(command_id)s
