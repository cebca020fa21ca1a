-- title: Revenue by day, kept up to date
-- description: The same as revenue per day over all time, read from the table that streaming SQL keeps.
SELECT day, orders, revenue, largest
FROM revenue_by_day
WHERE orders > 0
ORDER BY day
