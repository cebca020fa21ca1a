-- title: Top products
-- description: What sold for most, cancelled orders left out.
-- parameter from: The first moment that counts.
-- default from: now - 60d
-- parameter to: The moment before which it happened.
-- default to: now
-- parameter count: How many.
-- default count: 10
SELECT
  lines.sku AS sku,
  any(products.name) AS name,
  sum(lines.quantity) AS units,
  sum(lines.quantity * lines.unit_price) AS revenue
FROM shop_order_lines AS lines
INNER JOIN shop_orders AS orders ON orders.order_id = lines.order_id
INNER JOIN shop_products AS products ON products.sku = lines.sku
WHERE orders.status != 'cancelled'
  AND orders.placed_at >= {from:DateTime64(6)}
  AND orders.placed_at < {to:DateTime64(6)}
GROUP BY sku
ORDER BY revenue DESC, sku
LIMIT {count:UInt16}
