-- Ask the holder to leave out the event that a key waits for, and to handle those behind it.
UPDATE headrace.subscription_dead_letters AS letters
SET status = CASE WHEN id = first.first_id THEN 'discard' ELSE 'retry' END
FROM (
    SELECT min(id) AS first_id FROM headrace.subscription_dead_letters
    WHERE subscription = %(name)s AND key = %(key)s AND status IN ('waiting', 'retry', 'discard')
) AS first
WHERE subscription = %(name)s AND key = %(key)s AND status IN ('waiting', 'retry', 'discard')
