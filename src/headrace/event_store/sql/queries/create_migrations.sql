CREATE SCHEMA IF NOT EXISTS headrace;

-- What of this package's SQL this database has: numbered migrations once, functions again whenever they change.
CREATE TABLE IF NOT EXISTS headrace.migrations (
    name       text        PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
