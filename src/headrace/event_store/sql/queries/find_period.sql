-- The first and the last transaction that recorded something in a period.
SELECT min(transaction_id)::text, max(transaction_id)::text
FROM headrace.events
WHERE recorded_at >= %(start)s AND recorded_at < %(end)s
