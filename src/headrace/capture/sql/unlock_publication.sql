SELECT pg_advisory_unlock(hashtextextended(%(publication)s, 3))
