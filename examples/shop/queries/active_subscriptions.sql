-- title: Active subscriptions
-- description: Those that are paid for, by plan, and the revenue of a month that they stand for.
SELECT plan, count() AS subscriptions, sum(monthly_price) AS monthly_revenue
FROM shop_subscriptions
WHERE status IN ('active', 'past_due')
GROUP BY plan
ORDER BY plan
