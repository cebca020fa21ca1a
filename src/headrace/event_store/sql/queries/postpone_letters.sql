-- Its retry failed: it waits again, and so do those behind it; unless somebody asked meanwhile to leave it out.
UPDATE headrace.subscription_dead_letters AS letters
SET status = 'waiting',
    reason = CASE WHEN stream = %(stream)s AND version = %(version)s THEN %(reason)s ELSE reason END
WHERE subscription = %(name)s AND key = %(key)s AND status IN ('waiting', 'retry', 'discard')
  AND NOT EXISTS (SELECT FROM headrace.subscription_dead_letters AS failed
                  WHERE failed.subscription = letters.subscription AND failed.stream = %(stream)s
                    AND failed.version = %(version)s AND failed.status = 'discard')
