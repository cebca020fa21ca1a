-- title: Transfers by state
-- description: How many transfers stand where, and how much money they are about, in cents.
SELECT state, ifNull(reason, '') AS reason, count() AS transfers, sum(amount) AS amount
FROM transfers_current
GROUP BY state, reason
ORDER BY state, reason
