-- Everything that its holder has to know to go on; no row when it is the holder no more.
SELECT pg_current_snapshot()::text AS snapshot, state = 'paused' AS paused,
       EXISTS (SELECT FROM headrace.subscription_dead_letters AS letters
               WHERE letters.subscription = subscriptions.name AND letters.status IN ('retry', 'discard')) AS asked
FROM headrace.subscriptions
WHERE name = %(name)s AND epoch = %(epoch)s
