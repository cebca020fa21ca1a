-- title: Money moved per hour
-- description: What was paid in, paid out and received by transfer, in cents.
-- parameter from: The first moment that counts.
-- default from: now - 7d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT toStartOfHour(at) AS hour, event_type, sum(abs(change)) AS amount
FROM account_history
WHERE event_type IN ('Deposited', 'Withdrawn', 'AccountCredited')
  AND at >= toStartOfHour({from:DateTime64(6)}) AND at < {to:DateTime64(6)}
GROUP BY hour, event_type
ORDER BY hour, event_type
