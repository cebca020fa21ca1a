SELECT DISTINCT key FROM headrace.subscription_dead_letters
WHERE subscription = %(name)s AND status IN ('retry', 'discard')
