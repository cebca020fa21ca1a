-- title: Account history
-- description: The auditor's question: what happened to this account between two moments?
-- parameter id: The account.
-- parameter from: The first moment that counts.
-- default from: now - 365d
-- parameter to: The moment before which it happened.
-- default to: now
SELECT seq, event_type, name, email, change, counterparty, reason, at
FROM account_history
WHERE id = {id:String} AND at >= {from:DateTime64(6)} AND at < {to:DateTime64(6)}
ORDER BY seq
