SELECT subject, id::text, key FROM headrace.make_subject_keys(%(subjects)s::text[])
