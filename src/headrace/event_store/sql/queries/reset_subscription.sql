-- Before the first event again. The new epoch makes a running holder begin anew too.
UPDATE headrace.subscriptions SET checkpoint = '{"seen": "1:1:"}', epoch = epoch + 1, updated_at = now()
WHERE name = %(name)s
