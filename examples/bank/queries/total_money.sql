-- title: Total money
-- description: What was paid in and not out, and where it is, in cents. `on_the_way` was taken from one account and has
--   neither arrived nor come back; when no transfer is open it is 0, and less than 0 would be money from nowhere.
SELECT
  sumIf(change, event_type IN ('Deposited', 'Withdrawn')) AS paid_in,
  assumeNotNull((SELECT sum(balance) FROM accounts_current)) AS in_accounts,
  paid_in - in_accounts AS on_the_way
FROM money
