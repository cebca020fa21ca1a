-- What an event is about, beyond its stream, and its place within its transaction.
--
-- ordinal: the events of one transaction in the order in which they were appended, from 0. (transaction_id, ordinal) is
-- the order of every read over several streams; an import can keep it.
ALTER TABLE headrace.events
    ADD COLUMN ordinal integer NOT NULL DEFAULT 0 CHECK (ordinal >= 0),
    ADD COLUMN tags text[] COLLATE "C" NOT NULL DEFAULT '{}';

DROP INDEX headrace.events_transaction_id;
CREATE INDEX events_transaction_id ON headrace.events (transaction_id, ordinal);
CREATE INDEX events_type ON headrace.events (type, transaction_id, ordinal);

-- One row for each tag of each event. A B-tree and not a GIN index over events.tags: what a condition asks is "this tag,
-- after that transaction", one short range here, while GIN would find every event that ever had the tag.
CREATE TABLE headrace.event_tags (
    transaction_id xid8    NOT NULL,
    version        bigint  NOT NULL,
    ordinal        integer NOT NULL,
    tag            text    COLLATE "C" NOT NULL,
    stream         text    COLLATE "C" NOT NULL,
    PRIMARY KEY (tag, transaction_id, ordinal, stream, version)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON headrace.event_tags
    FOR EACH STATEMENT EXECUTE FUNCTION headrace.refuse_change();

-- A command may append to several streams: one row for each, in the order of the request.
ALTER TABLE headrace.command_results ADD COLUMN place integer NOT NULL DEFAULT 1;
ALTER TABLE headrace.command_results DROP CONSTRAINT command_results_pkey;
ALTER TABLE headrace.command_results ADD PRIMARY KEY (command_id, place);
