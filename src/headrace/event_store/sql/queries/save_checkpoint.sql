UPDATE headrace.subscriptions SET checkpoint = %(checkpoint)s, updated_at = now()
WHERE name = %(name)s AND epoch = %(epoch)s
