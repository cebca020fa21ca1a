-- Wait for the appends under way that name this subject, and hold others off until this transaction ends: the lock of
-- its tag, as headrace.append takes it.
SELECT pg_advisory_xact_lock(hashtextextended('subject:' || %(subject)s::text, 2))
