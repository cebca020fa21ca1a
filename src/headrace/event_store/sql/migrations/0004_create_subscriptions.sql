-- Where each subscription is. The epoch grows whenever a process takes the subscription over, or it is reset: who holds
-- an older one can save nothing any more. The checkpoint is described in follow.py.
CREATE TABLE headrace.subscriptions (
    epoch      bigint      NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    name       text        COLLATE "C" PRIMARY KEY,
    state      text        NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused')),
    checkpoint jsonb       NOT NULL,
    problem    text        NOT NULL DEFAULT ''
);

-- Events that a reactor could not handle, and those of the same key behind them. The ids give the order within a key:
-- one process at a time adds to a subscription. While one of a key is open, its later events come here too.
CREATE TABLE headrace.subscription_dead_letters (
    id           bigint      GENERATED ALWAYS AS IDENTITY,
    version      bigint      NOT NULL,
    set_aside_at timestamptz NOT NULL DEFAULT now(),
    subscription text        COLLATE "C" NOT NULL REFERENCES headrace.subscriptions,
    stream       text        COLLATE "C" NOT NULL,
    key          text        COLLATE "C" NOT NULL,
    status       text        NOT NULL DEFAULT 'waiting'
                             CHECK (status IN ('waiting', 'retry', 'discard', 'handled', 'discarded')),
    reason       text        NOT NULL,
    PRIMARY KEY (subscription, stream, version)
);

CREATE INDEX subscription_dead_letters_open ON headrace.subscription_dead_letters (subscription, key, id)
    WHERE status IN ('waiting', 'retry', 'discard');

-- Commands that reactors gave for later. Due by this database's clock; one that failed too often is due at infinity.
CREATE TABLE headrace.scheduled_commands (
    command_id   uuid        PRIMARY KEY,
    due_at       timestamptz NOT NULL,
    attempts     integer     NOT NULL DEFAULT 0,
    subscription text        COLLATE "C" NOT NULL,
    command      text        COLLATE "C" NOT NULL,
    data         jsonb       NOT NULL,
    metadata     jsonb       NOT NULL,
    problem      text        NOT NULL DEFAULT ''
);

CREATE INDEX scheduled_commands_due_at ON headrace.scheduled_commands (due_at);
