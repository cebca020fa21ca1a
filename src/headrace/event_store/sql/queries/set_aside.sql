-- Keep an event as a dead letter, if we still hold the subscription. Its repetition changes nothing while it is open.
INSERT INTO headrace.subscription_dead_letters AS letters (subscription, stream, version, key, reason)
SELECT name, %(stream)s, %(version)s, %(key)s, %(reason)s
FROM headrace.subscriptions WHERE name = %(name)s AND epoch = %(epoch)s FOR SHARE
ON CONFLICT (subscription, stream, version) DO UPDATE
SET status = CASE WHEN letters.status IN ('handled', 'discarded') THEN 'waiting' ELSE letters.status END,
    reason = CASE WHEN letters.status IN ('handled', 'discarded') THEN excluded.reason ELSE letters.reason END
