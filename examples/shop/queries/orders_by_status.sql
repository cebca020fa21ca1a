-- title: Orders by status
-- description: How many orders stand where, and what they are worth.
-- parameter from: The first moment that counts.
-- default from: now - 60d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT toString(status) AS state, count() AS orders, sum(total) AS amount
FROM shop_orders
WHERE placed_at >= {from:DateTime64(6)} AND placed_at < {to:DateTime64(6)}
GROUP BY state
ORDER BY state
