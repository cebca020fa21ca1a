-- title: Latest transfers
-- description: Those that changed last.
-- parameter id: One account, as source or target; empty means all.
-- default id: ''
-- parameter count: How many.
-- default count: 10
SELECT changed_at, source, target, amount, state, ifNull(reason, '') AS reason, transfer_id
FROM transfers_current
WHERE {id:String} = '' OR source = {id:String} OR target = {id:String}
ORDER BY changed_at DESC, transfer_id
LIMIT {count:UInt16}
