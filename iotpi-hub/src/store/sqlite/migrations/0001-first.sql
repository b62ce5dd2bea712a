-- The first tables. Names ending in `_at_us` are wall time, in `_steady_us` the hub's steady time: both microseconds
-- since 1970-01-01 00:00 UTC. Columns named `*_us` otherwise are durations in microseconds. JSON is kept as text.
-- Words of a closed list (states, roles) are their wire words.

-- ---- modules ----

CREATE TABLE modules (
    id               TEXT    NOT NULL PRIMARY KEY,
    manifest         TEXT,             -- JSON object; NULL: it never registered
    registered_at_us INTEGER NOT NULL, -- when the hub first knew of it
    last_seen_at_us  INTEGER,
    state            TEXT,             -- JSON object, as last reported
    state_at_us      INTEGER,
    CHECK ((state IS NULL) = (state_at_us IS NULL))
) STRICT, WITHOUT ROWID;

-- ---- readings ----

-- What one module measures of one type, in one unit. A series is made by its first record, so it has at least one.
CREATE TABLE series (
    id        INTEGER NOT NULL PRIMARY KEY,
    module_id TEXT    NOT NULL REFERENCES modules (id) ON DELETE CASCADE,
    sensor    TEXT    NOT NULL,
    unit      TEXT    NOT NULL, -- of every value of the series, a unit word
    UNIQUE (module_id, sensor)
) STRICT;

CREATE INDEX series_by_sensor ON series (sensor, module_id);

-- Clustered by series and time: a chart, a page and the newest record are each one stretch of neighbouring rows.
CREATE TABLE readings (
    series_id      INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    taken_at_us    INTEGER NOT NULL, -- by the module's clock
    arrival        INTEGER NOT NULL, -- rises by one with each record of the hub; orders records of one microsecond
    value          REAL,             -- in the series' unit; NULL: the measurement failed
    reason         TEXT,             -- why it failed
    received_at_us INTEGER NOT NULL, -- by the hub's clock
    PRIMARY KEY (series_id, taken_at_us, arrival),
    CHECK ((value IS NULL) = (reason IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- One row: the arrival number given last.
CREATE TABLE arrivals (
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    last INTEGER NOT NULL
) STRICT;

INSERT INTO arrivals (only, last) VALUES (1, 0);

-- ---- commands ----

CREATE TABLE commands (
    number            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- the order of submission, whatever the clock does
    id                TEXT    NOT NULL UNIQUE,                    -- UUID version 7
    module_id         TEXT    NOT NULL REFERENCES modules (id) ON DELETE CASCADE,
    action            TEXT    NOT NULL,
    params            TEXT    NOT NULL, -- JSON object
    hazardous         INTEGER NOT NULL CHECK (hazardous IN (0, 1)), -- 1: handed over at most once
    state             TEXT    NOT NULL
        CHECK (state IN ('queued', 'leased', 'succeeded', 'failed', 'rejected', 'expired', 'cancelled', 'dead')),
    issued_by         TEXT    NOT NULL,
    created_at_us     INTEGER NOT NULL,
    time_to_live_us   INTEGER NOT NULL,
    expires_at_us     INTEGER NOT NULL, -- what people are shown; the next line is what counts
    expires_steady_us INTEGER NOT NULL,
    attempts          INTEGER NOT NULL, -- how often it was handed over
    lease             TEXT,             -- of the present or, once final, the last claim
    lease_steady_us   INTEGER,          -- when that claim ends
    leased_at_us      INTEGER,
    finished_at_us    INTEGER,          -- set in every final state
    result            TEXT,             -- JSON
    error             TEXT,
    CHECK ((finished_at_us IS NULL) = (state IN ('queued', 'leased'))),
    CHECK (state <> 'leased' OR (lease IS NOT NULL AND lease_steady_us IS NOT NULL AND leased_at_us IS NOT NULL))
) STRICT;

CREATE INDEX commands_by_module ON commands (module_id, number);

-- The few that are not final, so that a claim and a sweep never walk through history.
CREATE INDEX commands_waiting ON commands (module_id, number) WHERE finished_at_us IS NULL;

-- ---- people, sessions, tokens ----

CREATE TABLE users (
    name          TEXT    NOT NULL PRIMARY KEY,
    role          TEXT    NOT NULL,
    password_hash TEXT    NOT NULL, -- argon2id, PHC form
    created_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    secret         BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the cookie, 32 bytes
    user           TEXT    NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    ends_steady_us INTEGER NOT NULL,
    opened_at_us   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A module's token may be older than the module, so `module_id` references nothing.
CREATE TABLE tokens (
    id              TEXT    NOT NULL PRIMARY KEY,
    secret          BLOB    NOT NULL UNIQUE, -- SHA-256 of the token, 32 bytes
    name            TEXT    NOT NULL UNIQUE,
    role            TEXT    NOT NULL,
    module_id       TEXT,                    -- whose, for the role `module`
    created_at_us   INTEGER NOT NULL,
    last_used_at_us INTEGER                  -- to the hour: a token used every second is not written every second
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_module ON tokens (module_id) WHERE module_id IS NOT NULL;

-- Keys the hub made for itself.
CREATE TABLE hub_secrets (
    name   TEXT NOT NULL PRIMARY KEY,
    secret BLOB NOT NULL -- 32 bytes
) STRICT, WITHOUT ROWID;

-- What the hub notes for itself across restarts: how much it wrote, when it last ran which upkeep.
CREATE TABLE notes (
    name TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;
