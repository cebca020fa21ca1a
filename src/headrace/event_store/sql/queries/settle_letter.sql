UPDATE headrace.subscription_dead_letters SET status = %(status)s
WHERE subscription = %(name)s AND stream = %(stream)s AND version = %(version)s
