-- The holder stops itself, and says why.
UPDATE headrace.subscriptions SET state = 'paused', problem = %(problem)s
WHERE name = %(name)s AND epoch = %(epoch)s
