-- Its retry failed: it waits again, and so do those behind it.
UPDATE headrace.subscription_dead_letters
SET status = 'waiting',
    reason = CASE WHEN stream = %(stream)s AND version = %(version)s THEN %(reason)s ELSE reason END
WHERE subscription = %(name)s AND key = %(key)s AND status IN ('waiting', 'retry', 'discard')
