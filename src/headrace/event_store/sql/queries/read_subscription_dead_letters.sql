SELECT subscription, key, stream, version, status, reason, set_aside_at
FROM headrace.subscription_dead_letters
WHERE subscription = %(name)s OR %(name)s = ''
ORDER BY subscription, id
LIMIT %(rows_max)s
