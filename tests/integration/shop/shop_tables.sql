-- What the queries of examples/shop read of the mirrored tables, for tests without a mirror. Statements end with a line ;
CREATE TABLE shop_customers (customer_id Int64, full_name String) ENGINE = MergeTree ORDER BY customer_id
;
CREATE TABLE shop_products (sku String, name String) ENGINE = MergeTree ORDER BY sku
;
CREATE TABLE shop_orders (
    order_id Int64, customer_id Int64, status LowCardinality(String), total Decimal(12, 2), placed_at DateTime64(6, 'UTC')
) ENGINE = MergeTree ORDER BY order_id
;
CREATE TABLE shop_order_lines (
    order_id Int64, line_number Int32, sku String, quantity Int32, unit_price Decimal(12, 2)
) ENGINE = MergeTree ORDER BY (order_id, line_number)
;
CREATE TABLE shop_refunds (
    refund_id UUID, order_id Int64, amount Decimal(12, 2), refunded_at DateTime64(6, 'UTC')
) ENGINE = MergeTree ORDER BY refund_id
;
CREATE TABLE shop_subscriptions (
    subscription_id Int64, plan String, status LowCardinality(String), monthly_price Decimal(12, 2),
    started_at DateTime64(6, 'UTC'), ended_at Nullable(DateTime64(6, 'UTC'))
) ENGINE = MergeTree ORDER BY subscription_id
;
CREATE TABLE shop_subscription_changes (
    change_id Int64, subscription_id Int64, status LowCardinality(String), changed_at DateTime64(6, 'UTC')
) ENGINE = MergeTree ORDER BY change_id
;
CREATE TABLE shop_page_views (
    view_id UUID, viewed_at DateTime64(6, 'UTC'), customer_id Nullable(Int64)
) ENGINE = MergeTree ORDER BY view_id
;
CREATE VIEW revenue_by_day AS
SELECT toDate(placed_at) AS day, count() AS orders, sum(total) AS revenue, max(total) AS largest
FROM shop_orders WHERE status != 'cancelled' GROUP BY day
