DELETE FROM headrace.subject_keys WHERE subject = %(subject)s RETURNING id
