-- The saved state of a stream, if this code made it.
SELECT version, data
FROM headrace.snapshots
WHERE stream = %(stream)s AND state = %(state)s AND fingerprint = %(fingerprint)s
