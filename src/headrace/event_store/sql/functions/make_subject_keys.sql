-- The keys of these subjects, made for those that have none. Sorted, so that two callers never wait in a circle. A
-- subject that is forgotten at this very moment may be missing from the answer: ask again.
CREATE OR REPLACE FUNCTION headrace.make_subject_keys(subjects text[])
RETURNS TABLE (subject text, id uuid, key bytea)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO headrace.subject_keys (subject)
    SELECT DISTINCT wanted.subject FROM unnest(subjects) AS wanted (subject)
    WHERE NOT EXISTS (SELECT FROM headrace.subject_keys AS known WHERE known.subject = wanted.subject)
    ORDER BY wanted.subject
    ON CONFLICT DO NOTHING;

    RETURN QUERY SELECT known.subject, known.id, known.key
                 FROM headrace.subject_keys AS known WHERE known.subject = ANY (subjects);
END
$$;
