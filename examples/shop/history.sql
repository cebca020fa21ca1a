-- Sixty days of a shop, for an empty schema. `setseed` before it makes every run the same but for ids and times.

INSERT INTO shop.customers (email, full_name, address, tags, registered_at)
SELECT
  'customer' || n || '@example.com',
  'Customer ' || n,
  CASE WHEN n % 10 > 0 THEN jsonb_build_object('city', (ARRAY['Lisbon', 'Kraków', 'Nairobi', 'Quito'])[1 + n % 4], 'street', 'Main ' || n) END,
  CASE WHEN n % 3 = 0 THEN ARRAY['newsletter', 'it''s "quoted", {braced}'] ELSE '{}' END,
  now() - random() * interval '60 days'
FROM generate_series(1, 200) AS n;

INSERT INTO shop.products (name, description, price, stock, attributes, legacy_code)
SELECT
  'Product ' || n,
  (SELECT string_agg(md5((n * 1000 + word)::text), ' ') FROM generate_series(1, 150) AS word),
  round((5 + random() * 195)::numeric, 2),
  1000,
  jsonb_build_object('colour', (ARRAY['red', 'green', 'blue'])[1 + n % 3], 'weight_grams', 100 + n),
  CASE WHEN n % 2 = 0 THEN 'L' || n END
FROM generate_series(1, 60) AS n;

INSERT INTO shop.stock_movements (sku, change, reason, moved_at)
SELECT sku, stock, 'received', now() - interval '60 days' FROM shop.products;

INSERT INTO shop.orders (customer_id, status, note, placed_at, updated_at)
SELECT
  1 + n % 200,
  (CASE WHEN n % 12 = 0 THEN 'cancelled' WHEN n > 1450 THEN 'placed' WHEN n > 1400 THEN 'paid' ELSE 'shipped' END)::shop.order_status,
  CASE WHEN n % 5 = 0 THEN 'Leave it at the door' END,
  placed_at,
  placed_at
FROM (SELECT n, now() - interval '60 days' * (1500 - n + random()) / 1500 AS placed_at FROM generate_series(1, 1500) AS n);

INSERT INTO shop.order_lines (order_id, line_number, sku, quantity, unit_price)
SELECT order_id, line_number, sku, 1 + (random() * 3)::int, price
FROM shop.orders
CROSS JOIN generate_series(1, 3) AS line_number
JOIN shop.products ON sku = 'SKU-' || lpad((1 + (order_id * 7 + line_number * 13) % 60)::text, 8, '0')
WHERE line_number <= 1 + order_id % 3;

UPDATE shop.orders
SET total = (SELECT sum(amount) FROM shop.order_lines WHERE order_lines.order_id = orders.order_id);

INSERT INTO shop.stock_movements (sku, change, reason, moved_at)
SELECT sku, -quantity, 'sold', placed_at FROM shop.order_lines JOIN shop.orders USING (order_id);

UPDATE shop.products SET stock = (SELECT sum(change) FROM shop.stock_movements WHERE stock_movements.sku = products.sku);

INSERT INTO shop.refunds (order_id, amount, reason, refunded_at)
SELECT
  order_id,
  round(total * (0.2 + 0.8 * random())::numeric, 2),
  CASE WHEN order_id % 3 > 0 THEN 'damaged' END,
  placed_at + random() * (now() - placed_at)
FROM shop.orders
WHERE order_id % 25 = 1 AND status = 'shipped';

INSERT INTO shop.subscriptions (customer_id, plan, status, monthly_price, started_at, ended_at)
SELECT
  n,
  (ARRAY['basic', 'plus', 'family'])[1 + n % 3],
  (CASE WHEN n % 5 = 0 THEN 'cancelled' WHEN n % 11 = 0 THEN 'trial' ELSE 'active' END)::shop.subscription_status,
  (ARRAY[9.90, 19.90, 29.90])[1 + n % 3],
  started_at,
  CASE WHEN n % 5 = 0 THEN started_at + random() * (now() - started_at) END
FROM (SELECT n, now() - random() * interval '60 days' AS started_at FROM generate_series(1, 120) AS n);

INSERT INTO shop.subscription_changes (subscription_id, status, changed_at)
SELECT subscription_id, 'trial'::shop.subscription_status, started_at FROM shop.subscriptions
UNION ALL
SELECT subscription_id, 'active', started_at FROM shop.subscriptions WHERE status <> 'trial'
UNION ALL
SELECT subscription_id, 'cancelled', ended_at FROM shop.subscriptions WHERE ended_at IS NOT NULL;

INSERT INTO shop.carts (customer_id, items)
SELECT n, jsonb_build_array(jsonb_build_object('sku', 'SKU-00000001', 'quantity', n % 3 + 1)) FROM generate_series(1, 20) AS n;

INSERT INTO shop.page_views (viewed_at, customer_id, path, properties)
SELECT
  now() - random() * interval '60 days',
  CASE WHEN n % 3 > 0 THEN 1 + n % 200 END,
  '/products/' || n % 60,
  jsonb_build_object('referrer', (ARRAY['search', 'mail', 'direct'])[1 + n % 3])
FROM generate_series(1, 3000) AS n;
