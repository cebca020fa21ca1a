-- Over mirrored tables: an order that changes or goes is taken out of where it was counted and counted where it is now.
CREATE TABLE revenue_by_day AS
  SELECT toDate(placed_at) AS day, COUNT(*) AS orders, SUM(total) AS revenue, MAX(total) AS largest
  FROM shop_orders
  WHERE status != 'cancelled'
  GROUP BY day
  EMIT CHANGES;

CREATE TABLE orders_per_status AS
  SELECT toString(status) AS state, COUNT(*) AS orders, SUM(total) AS amount, AVG(total) AS average
  FROM shop_orders
  GROUP BY state
  EMIT CHANGES;

CREATE TABLE units_per_product AS
  SELECT sku, COUNT(*) AS lines, SUM(quantity) AS units, SUM(quantity * unit_price) AS revenue
  FROM shop_order_lines
  GROUP BY sku
  EMIT CHANGES;

CREATE TABLE refunds_by_day AS
  SELECT toDate(refunded_at) AS day, COUNT(*) AS refunds, SUM(amount) AS amount
  FROM shop_refunds
  GROUP BY day
  EMIT CHANGES;
