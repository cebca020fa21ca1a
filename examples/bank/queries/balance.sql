-- title: Balances
-- description: What each account holds, in cents.
-- parameter id: One account; empty means all.
-- default id: ''
SELECT id, name, email, balance, status
FROM accounts_current
WHERE status != 'never opened' AND ({id:String} = '' OR id = {id:String})
ORDER BY id
