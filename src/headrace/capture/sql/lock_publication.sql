-- Until it is unlocked or this session ends. Seeds 0 to 2 are those of the event store.
SELECT pg_advisory_lock(hashtextextended(%(publication)s, 3))
