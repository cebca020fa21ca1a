CALL headrace.append_durably(%(appends)s, NULL, NULL)
