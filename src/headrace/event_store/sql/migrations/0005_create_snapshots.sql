-- Saved states of streams: only to load faster. Any row may be deleted at any time, and is then made anew.
-- fingerprint: a hash of the code that made the state; another code makes its own.
CREATE TABLE headrace.snapshots (
    version     bigint      NOT NULL CHECK (version > 0),
    fingerprint bigint      NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    stream      text        COLLATE "C" NOT NULL,
    state       text        COLLATE "C" NOT NULL,
    data        bytea       NOT NULL,
    PRIMARY KEY (stream, state)
);
