DELETE FROM headrace.scheduled_commands WHERE command_id = %(command_id)s
