-- title: Revenue per day
-- description: Orders that were not cancelled, by the day (UTC) they were placed on, the first day in full.
-- parameter from: The first moment that counts.
-- default from: now - 60d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT toDate(placed_at) AS day, count() AS orders, sum(total) AS revenue
FROM shop_orders
WHERE status != 'cancelled'
  AND placed_at >= toStartOfDay({from:DateTime64(6)})
  AND placed_at < {to:DateTime64(6)}
GROUP BY day
ORDER BY day
