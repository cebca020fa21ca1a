SELECT name, state, checkpoint, problem, updated_at,
       (SELECT count(*) FROM headrace.subscription_dead_letters AS letters
        WHERE letters.subscription = subscriptions.name AND letters.status IN ('waiting', 'retry', 'discard')),
       (SELECT count(*) FROM headrace.scheduled_commands AS scheduled
        WHERE scheduled.subscription = subscriptions.name AND scheduled.due_at < 'infinity'),
       (SELECT count(*) FROM headrace.scheduled_commands AS scheduled
        WHERE scheduled.subscription = subscriptions.name AND scheduled.due_at = 'infinity')
FROM headrace.subscriptions
ORDER BY name
