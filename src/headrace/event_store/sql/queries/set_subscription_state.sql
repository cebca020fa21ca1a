UPDATE headrace.subscriptions SET state = %(state)s, problem = '' WHERE name = %(name)s
