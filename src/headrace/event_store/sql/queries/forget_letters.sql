-- All dead letters of a subscription that is being reset. A statement of its own, behind the reset, which waits for a
-- holder that sets an event aside at this moment: only a later statement sees that letter.
DELETE FROM headrace.subscription_dead_letters WHERE subscription = %(name)s
