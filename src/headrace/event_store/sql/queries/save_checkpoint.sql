UPDATE headrace.subscriptions SET checkpoint = %(checkpoint)s, updated_at = now(), problem = ''
WHERE name = %(name)s AND epoch = %(epoch)s
