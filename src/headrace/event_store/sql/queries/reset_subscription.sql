-- Before the first event again. The new epoch makes a running holder begin anew too.
WITH reset AS (
    UPDATE headrace.subscriptions SET checkpoint = '{"seen": "1:1:"}', epoch = epoch + 1, updated_at = now()
    WHERE name = %(name)s
    RETURNING name
),
met_again AS (
    DELETE FROM headrace.subscription_dead_letters USING reset WHERE subscription = reset.name
)
SELECT name FROM reset
