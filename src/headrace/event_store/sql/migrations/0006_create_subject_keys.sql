-- One key for each person that events hold personal fields of. Whoever deletes the row has forgotten the person: the
-- events stay, and nobody can read those fields again.
--
-- The ids are random: in a store that events were copied to without their keys, none is taken for another.
--
-- The keys are made here, so that none is ever a parameter of a statement. gen_random_uuid is PostgreSQL's source of
-- strong random bits; two of them hold 244. The tables are in no publication, so no key leaves PostgreSQL with the events.
CREATE TABLE headrace.subject_keys (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    subject    text        COLLATE "C" NOT NULL UNIQUE,
    key        bytea       NOT NULL DEFAULT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
);

-- The one key of the keyed hashes: equal values of joinable fields have equal hashes, in all events of the store.
CREATE TABLE headrace.hash_key (
    the_only boolean PRIMARY KEY DEFAULT true CHECK (the_only),
    key      bytea   NOT NULL DEFAULT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
);
INSERT INTO headrace.hash_key DEFAULT VALUES;

REVOKE ALL ON headrace.subject_keys, headrace.hash_key FROM PUBLIC;
