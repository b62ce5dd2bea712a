-- Commands begin (`started_at_us`), may end without anybody knowing how (`unknown_outcome`), supersede each other, are
-- found again by the key of their request, and remember who issued them. The list of states stands in a CHECK, which
-- SQLite cannot alter: the table is made anew and its rows move.

CREATE TABLE commands_new (
    number            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- the order of submission, whatever the clock does
    id                TEXT    NOT NULL UNIQUE,                    -- UUID version 7
    module_id         TEXT    NOT NULL REFERENCES modules (id) ON DELETE CASCADE,
    action            TEXT    NOT NULL,
    params            TEXT    NOT NULL, -- JSON object
    hazardous         INTEGER NOT NULL CHECK (hazardous IN (0, 1)), -- 1: the module says when it begins
    target            TEXT,             -- of an absolute action, which target; NULL: the action is not absolute
    while_alive_us    INTEGER,          -- how long the issuer may be gone; NULL: for ever
    state             TEXT    NOT NULL
        CHECK (state IN ('queued', 'leased', 'succeeded', 'failed', 'rejected', 'expired', 'cancelled', 'dead',
                         'unknown_outcome')),
    issued_by         TEXT    NOT NULL,
    issuer            TEXT,             -- names the session or token, without being its secret
    idempotency_key   TEXT,             -- of the request that made it
    created_at_us     INTEGER NOT NULL,
    time_to_live_us   INTEGER NOT NULL,
    expires_at_us     INTEGER NOT NULL, -- what people are shown; the next line is what counts
    expires_steady_us INTEGER NOT NULL,
    attempts          INTEGER NOT NULL, -- how often it was handed over
    lease             TEXT,             -- of the present or, once final, the last claim
    lease_steady_us   INTEGER,          -- when that claim ends
    leased_at_us      INTEGER,
    started_at_us     INTEGER,          -- set: it is never handed over again
    finished_at_us    INTEGER,          -- set in every final state
    result            TEXT,             -- JSON
    error             TEXT,
    superseded_by     TEXT,             -- the id of the command that made it pointless
    CHECK ((finished_at_us IS NULL) = (state IN ('queued', 'leased'))),
    CHECK (state <> 'leased' OR (lease IS NOT NULL AND lease_steady_us IS NOT NULL AND leased_at_us IS NOT NULL)),
    CHECK (state <> 'queued' OR started_at_us IS NULL),
    CHECK (superseded_by IS NULL OR state = 'cancelled')
) STRICT;

INSERT INTO commands_new (number, id, module_id, action, params, hazardous, state, issued_by, created_at_us,
                          time_to_live_us, expires_at_us, expires_steady_us, attempts, lease, lease_steady_us,
                          leased_at_us, finished_at_us, result, error)
    SELECT number, id, module_id, action, params, hazardous, state, issued_by, created_at_us,
           time_to_live_us, expires_at_us, expires_steady_us, attempts, lease, lease_steady_us,
           leased_at_us, finished_at_us, result, error
    FROM commands;

DROP TABLE commands;
ALTER TABLE commands_new RENAME TO commands;

CREATE INDEX commands_by_module ON commands (module_id, number);

-- The few that are not final, so that a claim and a sweep never walk through history.
CREATE INDEX commands_waiting ON commands (module_id, number) WHERE finished_at_us IS NULL;

-- History, as it is pruned: by age, and by how many a module has.
CREATE INDEX commands_by_end ON commands (finished_at_us) WHERE finished_at_us IS NOT NULL;
CREATE INDEX commands_ended ON commands (module_id, number) WHERE finished_at_us IS NOT NULL;

CREATE UNIQUE INDEX commands_by_key ON commands (module_id, issued_by, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
