-- Readings arrive in a journal and are folded from there into compressed chunks and rollups; numbered readings are
-- stored once. Names end as in 0001; `*_ms` is milliseconds since 1970-01-01 00:00 UTC. The old table of readings is
-- carried over by the program, which knows how chunks are written, and then dropped.

-- ---- the journal ----

-- A stream of frames (frame.rs), cut into slots of one size that are used again once everything in them is folded: a
-- commit rewrites the last slot in place, which dirties one page, and takes or frees none.
CREATE TABLE journal (
    slot  INTEGER NOT NULL PRIMARY KEY,
    first INTEGER NOT NULL, -- position in the stream of the slot's first byte, a multiple of the slot's size
    body  BLOB    NOT NULL  -- one slot; zeros behind the last frame
) STRICT;

-- One row: the position up to which everything is folded, and the one process that may write to the journal: the last
-- that began to.
CREATE TABLE progress (
    only   INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    folded INTEGER NOT NULL,
    owner  INTEGER NOT NULL -- drawn at random; 0: nobody yet
) STRICT;

INSERT INTO progress (only, folded, owner) VALUES (1, 0, 0);

-- ---- series: how far each is folded ----

-- Entries of the journal before this position are in the chunks and rollups of the series, or none of its own.
ALTER TABLE series ADD COLUMN folded INTEGER NOT NULL DEFAULT 0;
-- Numbered readings among those that were folded.
ALTER TABLE series ADD COLUMN received INTEGER NOT NULL DEFAULT 0;

-- ---- chunks and rollups ----

-- The chunks of a series follow one another in time and do not overlap; two may share the microsecond at which one ends
-- and the other begins.
CREATE TABLE chunks (
    id        INTEGER NOT NULL PRIMARY KEY,
    series_id INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    first_us  INTEGER NOT NULL, -- the first record's taken_at
    last_us   INTEGER NOT NULL, -- the last record's
    count     INTEGER NOT NULL, -- records, those without a value included
    present   INTEGER NOT NULL, -- records with a value
    min       REAL,             -- of the values; NULL when there is none
    max       REAL,
    sum       REAL    NOT NULL,
    body      BLOB    NOT NULL, -- chunk.rs
    CHECK (first_us <= last_us AND count > 0)
) STRICT;

-- All that retention looks at, so that it reads no chunk.
CREATE INDEX chunks_by_time ON chunks (series_id, first_us, id, last_us, count);

-- All folded records of a series summed up by the minute, the hour and the day. They outlive the chunks.
CREATE TABLE rollups (
    series_id INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    width     INTEGER NOT NULL, -- seconds: 60, 3600, 86400
    start     INTEGER NOT NULL, -- the stretch's first moment, in units of `width` since 1970-01-01 00:00 UTC
    present   INTEGER NOT NULL, -- records with a value
    missing   INTEGER NOT NULL, -- records without
    sum       REAL    NOT NULL, -- of the values
    min       REAL,             -- NULL when there is none
    max       REAL,
    PRIMARY KEY (series_id, width, start)
) STRICT, WITHOUT ROWID;

-- ---- numbered readings ----

-- A count of a module. Never given a row number twice: the journal names it by that.
CREATE TABLE deliveries (
    id        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    module_id TEXT    NOT NULL REFERENCES modules (id) ON DELETE CASCADE,
    epoch     INTEGER NOT NULL,
    since_us  INTEGER NOT NULL, -- when its first reading arrived, by the hub's clock
    arrived   BLOB    NOT NULL, -- numbers that were folded, as ranges (ranges.rs); the journal has the rest
    UNIQUE (module_id, epoch)
) STRICT;

-- What is left of counts so old that their numbers are no longer remembered.
CREATE TABLE earlier_deliveries (
    module_id TEXT    NOT NULL PRIMARY KEY REFERENCES modules (id) ON DELETE CASCADE,
    since_us  INTEGER NOT NULL,
    expected  INTEGER NOT NULL,
    received  INTEGER NOT NULL,
    lost      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What modules said will never come: a row for each series a gap took something of.
CREATE TABLE gaps (
    id             INTEGER NOT NULL PRIMARY KEY,
    module_id      TEXT    NOT NULL REFERENCES modules (id) ON DELETE CASCADE,
    epoch          INTEGER NOT NULL,
    first_seq      INTEGER NOT NULL,
    last_seq       INTEGER NOT NULL,
    sensor         TEXT    NOT NULL, -- empty: the module did not know any more
    since_us       INTEGER NOT NULL, -- the first lost reading's taken_at
    until_us       INTEGER NOT NULL, -- the last one's
    lost           INTEGER NOT NULL,
    reason         TEXT    NOT NULL,
    recorded_at_us INTEGER NOT NULL,
    UNIQUE (module_id, epoch, first_seq, sensor)
) STRICT;

CREATE INDEX gaps_by_time ON gaps (since_us, id);

-- ---- the hub's own ----

-- What the hub notes for itself across restarts: how much it wrote, when it last ran which upkeep.
CREATE TABLE notes (
    name TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;

DROP TABLE arrivals;
