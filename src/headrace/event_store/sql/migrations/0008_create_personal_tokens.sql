-- What tokens of mirrored tables stand for. Whoever may read this table knows the values; deleting a row leaves the
-- token without one, for ever. It is in no publication.
CREATE TABLE headrace.personal_tokens (
    token      text        COLLATE "C" PRIMARY KEY,
    value      text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

REVOKE ALL ON headrace.personal_tokens FROM PUBLIC;
