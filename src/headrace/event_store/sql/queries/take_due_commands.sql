-- The next due commands, for as long as `lease`: if we die, they are due again after it. No lock is held meanwhile.
UPDATE headrace.scheduled_commands AS scheduled
SET due_at = now() + %(lease)s, attempts = attempts + 1
FROM (
    SELECT command_id FROM headrace.scheduled_commands
    WHERE due_at <= now() ORDER BY due_at LIMIT %(rows_max)s FOR UPDATE SKIP LOCKED
) AS due
WHERE scheduled.command_id = due.command_id
RETURNING scheduled.command_id, scheduled.attempts, scheduled.command, scheduled.data, scheduled.metadata
