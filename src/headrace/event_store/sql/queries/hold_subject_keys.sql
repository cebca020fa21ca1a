-- Keep these keys from being deleted until this transaction ends; how many of them are still there.
SELECT count(*)
FROM (SELECT FROM headrace.subject_keys WHERE id = ANY (%(ids)s::uuid[]) ORDER BY id FOR KEY SHARE) AS held
