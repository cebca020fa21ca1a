-- title: Latest orders
-- description: What was placed last, and by whom.
-- parameter count: How many.
-- default count: 10
SELECT
  orders.placed_at AS placed_at,
  orders.order_id AS order_id,
  customers.full_name AS customer,
  toString(orders.status) AS state,
  orders.total AS total
FROM shop_orders AS orders
INNER JOIN shop_customers AS customers ON customers.customer_id = orders.customer_id
ORDER BY placed_at DESC, order_id DESC
LIMIT {count:UInt16}
