-- The tables of the hub's database.
--
-- Units. `*_at_us` is wall time, `*_steady_us` the hub's steady time: microseconds since 1970-01-01 00:00 UTC. Other `*_us` columns
-- are durations in microseconds, except where the comment says that they are times. Values are in the unit of their series. JSON is
-- stored as text. States, roles and reasons are stored as the words of the wire format.

-- ---- modules ----

-- A module that has registered, or of which something is stored.
CREATE TABLE modules (
    id               TEXT    NOT NULL PRIMARY KEY,
    manifest         TEXT,             -- JSON object; NULL: it has not registered
    registered_at_us INTEGER NOT NULL, -- when the hub first stored something of it
    last_seen_at_us  INTEGER,          -- NULL: never seen since it was created
    state            TEXT,             -- JSON object, as last reported
    state_at_us      INTEGER,          -- when it was reported
    CHECK ((state IS NULL) = (state_at_us IS NULL))
) STRICT, WITHOUT ROWID;

-- ---- time series: series/mod.rs describes the write path and the read path ----

-- One quantity that one module measures on one channel, in one unit. The first reading creates it, so a series has at least one record.
CREATE TABLE series (
    id           INTEGER NOT NULL PRIMARY KEY,
    module_id    TEXT    NOT NULL REFERENCES modules (id) ON DELETE CASCADE,
    sensor       TEXT    NOT NULL,           -- the quantity, e.g. `temperature`
    channel      TEXT    NOT NULL,           -- empty: the default channel
    unit         TEXT    NOT NULL,           -- of every value of the series
    compacted_to INTEGER NOT NULL DEFAULT 0, -- entries of WAL records before this id are in chunks, or belong to an earlier series
    received     INTEGER NOT NULL DEFAULT 0, -- how many readings with a sequence number have been compacted
    UNIQUE (module_id, sensor, channel)
) STRICT;

CREATE INDEX series_by_sensor ON series (sensor, module_id);

-- A second copy of what a reading needs of its series: if the row of the series is on a damaged page, salvage takes it from here.
CREATE INDEX series_by_name ON series (module_id, sensor, channel, unit);

-- The write-ahead log: what commits added and compaction has not moved into chunks yet.
CREATE TABLE wal (
    id     INTEGER NOT NULL PRIMARY KEY, -- consecutive; never used again
    record BLOB    NOT NULL              -- all readings of one commit: series/wal_record.rs
) STRICT;

-- One row.
CREATE TABLE wal_state (
    only_row     INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    compacted_to INTEGER NOT NULL, -- WAL records before this id are compacted and may be deleted
    owner        INTEGER NOT NULL  -- a random number drawn by the process that may append; 0: none yet
) STRICT;

INSERT INTO wal_state (only_row, compacted_to, owner) VALUES (1, 0, 0);

-- Compacted records. The chunks of a series follow one another in time and do not overlap; two may share the microsecond in which
-- one ends and the next begins.
CREATE TABLE chunks (
    id             INTEGER NOT NULL PRIMARY KEY,
    series_id      INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    first_us       INTEGER NOT NULL, -- time: the first record's taken_at
    last_us        INTEGER NOT NULL, -- time: the last record's taken_at
    count          INTEGER NOT NULL, -- records, including those without a value
    present        INTEGER NOT NULL, -- records with a value
    min            REAL,             -- NULL: no record has a value
    max            REAL,
    sum            REAL    NOT NULL,
    body           BLOB    NOT NULL, -- the records, compressed: series/chunk.rs
    unrolled_width INTEGER NOT NULL, -- seconds: the widest width whose rollups do not include these records, so that a query of that
                                     -- width or a narrower one reads the chunk; 0: the rollups of all widths include them
    received_us    INTEGER NOT NULL, -- time: when the newest record arrived, by the hub's clock
    bytes          INTEGER NOT NULL, -- the length of the body
    CHECK (first_us <= last_us AND count > 0)
) STRICT;

-- All that retention reads, so that it reads no chunk.
CREATE INDEX chunks_by_time ON chunks (series_id, first_us, id, last_us, count);
-- The chunks whose records a query has to add up itself.
CREATE INDEX chunks_unrolled ON chunks (series_id, first_us, id, unrolled_width, last_us) WHERE unrolled_width > 0;
-- All that is read to measure how much a series has grown, so that no chunk is read.
CREATE INDEX chunks_by_arrival ON chunks (series_id, received_us, bytes, count);

-- Compacted records summed up by minute, hour and day, where that is much smaller than the records (docs/design/0021). Rollups are
-- kept longer than chunks.
CREATE TABLE rollups (
    series_id INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    width     INTEGER NOT NULL, -- seconds: 60, 3600 or 86400
    start     INTEGER NOT NULL, -- the beginning of the bucket, in units of `width` since 1970-01-01 00:00 UTC
    present   INTEGER NOT NULL, -- records with a value
    missing   INTEGER NOT NULL, -- records without a value
    sum       REAL    NOT NULL,
    min       REAL,             -- NULL: no record has a value
    max       REAL,
    PRIMARY KEY (series_id, width, start)
) STRICT, WITHOUT ROWID;

-- The sums of an expired chunk that are in no rollup of their width or of a wider one, up to `unrolled_width`. Blocks of a series may
-- overlap: a query adds all of them.
CREATE TABLE rollup_blocks (
    id             INTEGER NOT NULL PRIMARY KEY,
    series_id      INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    width          INTEGER NOT NULL, -- seconds: of each sum's bucket
    unrolled_width INTEGER NOT NULL, -- seconds: the widest width whose rollups do not include these sums
    first_us       INTEGER NOT NULL, -- time: the beginning of the first bucket
    last_us        INTEGER NOT NULL, -- time: the beginning of the last bucket
    body           BLOB    NOT NULL, -- the sums, compressed: series/rollup_blocks.rs
    CHECK (first_us <= last_us AND width <= unrolled_width)
) STRICT;

CREATE INDEX rollup_blocks_by_time ON rollup_blocks (series_id, first_us, id, last_us, width, unrolled_width);

-- An epoch of a module's sequence numbers, and which of them have arrived.
CREATE TABLE epochs (
    id        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- never used again, because WAL records name it
    module_id TEXT    NOT NULL REFERENCES modules (id) ON DELETE CASCADE,
    epoch     INTEGER NOT NULL,
    since_us  INTEGER NOT NULL,           -- time: when its first reading arrived, by the hub's clock
    arrived   BLOB    NOT NULL,           -- compacted sequence numbers, as ranges (series/range_set.rs); the WAL has the others
    lost      BLOB    NOT NULL DEFAULT x'', -- lost sequence numbers whose gaps have expired, as ranges
    UNIQUE (module_id, epoch)
) STRICT;

-- The sums of epochs that are so old that their sequence numbers are no longer stored.
CREATE TABLE retired_epochs (
    module_id TEXT    NOT NULL PRIMARY KEY REFERENCES modules (id) ON DELETE CASCADE,
    since_us  INTEGER NOT NULL, -- time: of the first of them
    expected  INTEGER NOT NULL,
    received  INTEGER NOT NULL,
    lost      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Readings that a module has reported as lost: one row for each series that lost some.
CREATE TABLE gaps (
    id             INTEGER NOT NULL PRIMARY KEY,
    module_id      TEXT    NOT NULL REFERENCES modules (id) ON DELETE CASCADE,
    epoch          INTEGER NOT NULL,
    first_seq      INTEGER NOT NULL, -- the sequence numbers of the gap, both included
    last_seq       INTEGER NOT NULL,
    sensor         TEXT    NOT NULL, -- empty: the module did not know which series
    channel        TEXT    NOT NULL, -- empty: the default channel, or the series is unknown
    since_us       INTEGER NOT NULL, -- time: the first lost reading's taken_at
    until_us       INTEGER NOT NULL, -- time: the last lost reading's taken_at
    lost           INTEGER NOT NULL, -- how many readings of this series
    reason         TEXT    NOT NULL,
    recorded_at_us INTEGER NOT NULL,
    UNIQUE (module_id, epoch, first_seq, sensor, channel)
) STRICT;

CREATE INDEX gaps_by_time ON gaps (since_us, id);

-- ---- commands ----

-- Commands of modules, and their history.
CREATE TABLE commands (
    number            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- the order of submission, independent of the clock
    id                TEXT    NOT NULL UNIQUE,                    -- UUID version 7
    module_id         TEXT    NOT NULL REFERENCES modules (id) ON DELETE CASCADE,
    action            TEXT    NOT NULL,
    params            TEXT    NOT NULL, -- JSON object
    hazardous         INTEGER NOT NULL CHECK (hazardous IN (0, 1)), -- 1: the module reports when it starts
    target            TEXT,             -- the target of an absolute action; NULL: the action is not absolute
    while_alive_us    INTEGER,          -- how long the issuer may be absent before the effect ends; NULL: forever
    state             TEXT    NOT NULL
        CHECK (state IN ('queued', 'leased', 'succeeded', 'failed', 'rejected', 'expired', 'cancelled', 'dead',
                         'unknown_outcome')),
    issued_by         TEXT    NOT NULL, -- the name of the user or token
    issuer            TEXT,             -- identifies the session or token without containing its secret
    idempotency_key   TEXT,             -- of the request that submitted it
    created_at_us     INTEGER NOT NULL,
    time_to_live_us   INTEGER NOT NULL,
    expires_at_us     INTEGER NOT NULL, -- for display; expires_steady_us decides
    expires_steady_us INTEGER NOT NULL,
    attempts          INTEGER NOT NULL, -- how often it was leased
    lease             TEXT,             -- id of the current lease or, in a final state, of the last one
    lease_steady_us   INTEGER,          -- when that lease ends
    leased_at_us      INTEGER,
    started_at_us     INTEGER,          -- set: it is never leased again
    finished_at_us    INTEGER,          -- set in every final state
    result            TEXT,             -- JSON
    error             TEXT,
    superseded_by     TEXT,             -- the id of the newer command that replaced it
    CHECK ((finished_at_us IS NULL) = (state IN ('queued', 'leased'))),
    CHECK (state <> 'leased' OR (lease IS NOT NULL AND lease_steady_us IS NOT NULL AND leased_at_us IS NOT NULL)),
    CHECK (state <> 'queued' OR started_at_us IS NULL),
    CHECK (superseded_by IS NULL OR state = 'cancelled')
) STRICT;

CREATE INDEX commands_by_module ON commands (module_id, number);
-- The few that are not final, so that claiming and expiring never read the history.
CREATE INDEX commands_waiting ON commands (module_id, number) WHERE finished_at_us IS NULL;
-- The history as it is pruned: by age, and by the number of commands of a module.
CREATE INDEX commands_by_end ON commands (finished_at_us) WHERE finished_at_us IS NOT NULL;
CREATE INDEX commands_ended ON commands (module_id, number) WHERE finished_at_us IS NOT NULL;
CREATE UNIQUE INDEX commands_by_key ON commands (module_id, issued_by, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- ---- users, sessions, tokens ----

-- Users of the dashboard and of the API.
CREATE TABLE users (
    name          TEXT    NOT NULL PRIMARY KEY,
    role          TEXT    NOT NULL,
    password_hash TEXT    NOT NULL, -- argon2id, PHC string format
    created_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Sessions of users that are logged in.
CREATE TABLE sessions (
    secret         BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the cookie, 32 bytes
    user           TEXT    NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    ends_steady_us INTEGER NOT NULL,
    opened_at_us   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- API tokens. A module's token may be created before the module, so `module_id` references nothing.
CREATE TABLE tokens (
    id              TEXT    NOT NULL PRIMARY KEY,
    secret          BLOB    NOT NULL UNIQUE, -- SHA-256 of the token, 32 bytes
    name            TEXT    NOT NULL UNIQUE,
    role            TEXT    NOT NULL,
    module_id       TEXT,                    -- the module that it belongs to, for the role `module`
    created_at_us   INTEGER NOT NULL,
    last_used_at_us INTEGER                  -- to the hour: a token that is used every second is not written every second
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_module ON tokens (module_id) WHERE module_id IS NOT NULL;

-- Keys that the hub has generated for itself.
CREATE TABLE hub_secrets (
    name   TEXT NOT NULL PRIMARY KEY,
    secret BLOB NOT NULL -- 32 bytes
) STRICT, WITHOUT ROWID;

-- ---- recordings: the index of the files beside the database. A row is written after its frames are on the disk. ----

-- How a camera is recorded.
CREATE TABLE recording_settings (
    module_id TEXT NOT NULL PRIMARY KEY REFERENCES modules (id) ON DELETE CASCADE,
    settings  TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;

-- A file of a camera, as far as its frames are indexed.
CREATE TABLE segments (
    id        INTEGER NOT NULL PRIMARY KEY,
    module_id TEXT    NOT NULL REFERENCES modules (id) ON DELETE CASCADE,
    name      TEXT    NOT NULL, -- the file's name without its extension; never used again
    clip      TEXT    NOT NULL, -- the name of the segment that began the clip
    reason    TEXT    NOT NULL,
    first_us  INTEGER NOT NULL, -- time: the earliest frame's captured_at
    last_us   INTEGER NOT NULL, -- time: the latest frame's captured_at
    frames    INTEGER NOT NULL,
    bytes     INTEGER NOT NULL, -- of the file, up to the end of the last indexed frame
    UNIQUE (module_id, name)
) STRICT;

CREATE INDEX segments_by_time ON segments (module_id, first_us, id);

-- Frames that were indexed together, at most 60 s from the earliest to the latest, so that a search by time knows how far it has to
-- look back.
CREATE TABLE frame_index (
    id         INTEGER NOT NULL PRIMARY KEY,
    segment_id INTEGER NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    module_id  TEXT    NOT NULL,
    first_us   INTEGER NOT NULL, -- time: of the earliest frame
    last_us    INTEGER NOT NULL, -- time: of the latest frame
    body       BLOB    NOT NULL, -- frame_index.rs
    CHECK (first_us <= last_us)
) STRICT;

CREATE INDEX frame_index_by_time ON frame_index (module_id, first_us, id);
CREATE INDEX frame_index_by_segment ON frame_index (segment_id);

-- Tombstones: files that are to be deleted. They leave the index first, so that a start after a crash does not index them again. The
-- module may be removed already, so `module_id` references nothing.
CREATE TABLE segment_tombstones (
    module_id TEXT NOT NULL,
    name      TEXT NOT NULL,
    PRIMARY KEY (module_id, name)
) STRICT, WITHOUT ROWID;

-- ---- the hub's own state ----

-- What the hub remembers across restarts: how much it has written, when maintenance last ran.
CREATE TABLE notes (
    name TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;
