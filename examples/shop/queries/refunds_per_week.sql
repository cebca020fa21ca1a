-- title: Refunds per week
-- description: What was given back of the orders of each week (which begins on Monday), and its share of their revenue.
-- parameter from: The first moment that counts.
-- default from: now - 60d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT
  toStartOfWeek(orders.placed_at, 1) AS week,
  sum(orders.total) AS revenue,
  sum(refunds.amount) AS refunded,
  if(revenue = 0, NULL, round(100 * toFloat64(refunded) / toFloat64(revenue), 2)) AS refunded_percent
FROM shop_orders AS orders
LEFT JOIN (SELECT order_id, sum(amount) AS amount FROM shop_refunds GROUP BY order_id) AS refunds
  ON refunds.order_id = orders.order_id
WHERE orders.status != 'cancelled'
  AND orders.placed_at >= toStartOfWeek({from:DateTime64(6)}, 1)
  AND orders.placed_at < {to:DateTime64(6)}
GROUP BY week
ORDER BY week
