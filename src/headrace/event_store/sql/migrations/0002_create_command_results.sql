-- What each command that named itself (by an idempotency key) did, so that its repetition is answered and not repeated.
-- first_version > last_version: it was accepted and changed nothing.
-- fingerprint: a hash of the request, to tell a repetition from another request under the same name.
CREATE TABLE headrace.command_results (
    command_id    uuid        PRIMARY KEY,
    first_version bigint      NOT NULL,
    last_version  bigint      NOT NULL,
    fingerprint   bigint      NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT now(),
    stream        text        COLLATE "C" NOT NULL
);
