-- Ask the holder to handle dead letters again: those of one key, or all.
UPDATE headrace.subscription_dead_letters SET status = 'retry'
WHERE subscription = %(name)s AND (key = %(key)s OR %(key)s IS NULL) AND status = 'waiting'
