-- Until this session ends. Seeds 0 and 1 are those of headrace.append.
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 2))
