-- The keys of these ids; one that is missing has been deleted.
SELECT id::text, key FROM headrace.subject_keys WHERE id = ANY (%(ids)s::uuid[])
