INSERT INTO headrace.personal_tokens (token, value)
SELECT * FROM unnest(%(tokens)s::text[], %(values)s::text[])
ON CONFLICT DO NOTHING
