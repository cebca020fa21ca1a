-- How many subscriptions of each plan stand where, and what a month of them is worth.
CREATE TABLE subscriptions_per_plan AS
  SELECT plan, toString(status) AS state, COUNT(*) AS subscriptions, SUM(monthly_price) AS monthly_price,
         MIN(started_at) AS oldest, MAX(started_at) AS newest
  FROM shop_subscriptions
  GROUP BY plan, state
  EMIT CHANGES;

-- Stock on hand, from a table without a key.
CREATE TABLE stock_per_product AS
  SELECT sku, SUM(change) AS stock, COUNT(*) AS movements
  FROM shop_stock_movements
  GROUP BY sku
  EMIT CHANGES;
