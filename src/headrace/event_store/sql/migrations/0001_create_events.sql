-- The events, append-only. The columns stand widest first, so that none is padded for alignment.
--
-- transaction_id makes a complete read possible (see read_all.sql): a sequence could not, since its numbers become
-- visible out of order. The append function takes its locks before its transaction gets a number, so the numbers
-- never contradict the versions of a stream.
--
-- Stream and type compare by bytes: faster than by language, and the same on every server.
CREATE TABLE headrace.events (
    transaction_id xid8        NOT NULL DEFAULT pg_current_xact_id(),
    version        bigint      NOT NULL CHECK (version > 0),
    recorded_at    timestamptz NOT NULL DEFAULT now(),
    schema_version integer     NOT NULL,
    stream         text        COLLATE "C" NOT NULL,
    type           text        COLLATE "C" NOT NULL,
    data           jsonb       NOT NULL,
    metadata       jsonb       NOT NULL,
    PRIMARY KEY (stream, version)
);

CREATE INDEX events_transaction_id ON headrace.events (transaction_id);

CREATE FUNCTION headrace.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'headrace.events is append-only: % is refused', TG_OP
        USING ERRCODE = 'restrict_violation',
              HINT = 'Append a correcting event instead; stored events are never changed or deleted.';
END
$$;

-- Per statement, so that an insert pays nothing for it.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON headrace.events
    FOR EACH STATEMENT EXECUTE FUNCTION headrace.refuse_change();
