-- The first and the last transaction that recorded something in a period; null when nothing was.
SELECT first::text, last::text FROM headrace.find_period(%(start)s, %(end)s)
