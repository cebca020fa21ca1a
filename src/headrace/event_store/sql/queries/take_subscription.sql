-- Whoever held it before can save nothing from here on.
UPDATE headrace.subscriptions SET epoch = epoch + 1
WHERE name = %(name)s
RETURNING epoch, checkpoint,
          pg_snapshot_xmax((checkpoint ->> 'seen')::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot()) AS ahead
