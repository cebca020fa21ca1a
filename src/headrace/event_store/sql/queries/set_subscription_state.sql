UPDATE headrace.subscriptions SET state = %(state)s WHERE name = %(name)s
