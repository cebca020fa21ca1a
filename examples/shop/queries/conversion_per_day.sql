-- title: Conversion per day
-- description: Customers who looked at a page, and those of them who placed an order on the same day (UTC).
-- parameter from: The first moment that counts.
-- default from: now - 60d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT day, uniqExact(customer_id) AS visitors, uniqExactIf(customer_id, ordered) AS buyers,
  round(100 * buyers / visitors, 1) AS conversion_percent
FROM (
  SELECT DISTINCT toDate(viewed_at) AS day, assumeNotNull(customer_id) AS customer_id,
    (day, customer_id) IN (SELECT toDate(placed_at), customer_id FROM shop_orders) AS ordered
  FROM shop_page_views
  WHERE customer_id IS NOT NULL
    AND viewed_at >= toStartOfDay({from:DateTime64(6)})
    AND viewed_at < {to:DateTime64(6)}
)
GROUP BY day
ORDER BY day
