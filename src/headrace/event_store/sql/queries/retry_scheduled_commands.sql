UPDATE headrace.scheduled_commands SET due_at = now(), attempts = 0
WHERE subscription = %(name)s AND due_at = 'infinity'
