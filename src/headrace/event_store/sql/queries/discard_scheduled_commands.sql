DELETE FROM headrace.scheduled_commands WHERE subscription = %(name)s AND due_at = 'infinity'
