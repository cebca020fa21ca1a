-- title: Subscription changes per day
-- description: Trials begun, paid, lapsed and cancelled, by day (UTC), the first day in full.
-- parameter from: The first moment that counts.
-- default from: now - 60d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT toDate(changed_at) AS day, toString(status) AS became, count() AS changes
FROM shop_subscription_changes
WHERE changed_at >= toStartOfDay({from:DateTime64(6)}) AND changed_at < {to:DateTime64(6)}
GROUP BY day, became
ORDER BY day, became
