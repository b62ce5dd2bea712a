-- Recordings: the index of files the hub writes beside the database. A row here is written after its frames are on the disk.

CREATE TABLE recording_settings (
    module_id TEXT NOT NULL PRIMARY KEY REFERENCES modules (id) ON DELETE CASCADE,
    settings  TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;

-- A file of a camera, as far as it is indexed.
CREATE TABLE segments (
    id        INTEGER NOT NULL PRIMARY KEY,
    module_id TEXT    NOT NULL REFERENCES modules (id) ON DELETE CASCADE,
    name      TEXT    NOT NULL, -- the file's, without its ending; never given twice
    stretch   TEXT    NOT NULL, -- the name of the segment that began it
    reason    TEXT    NOT NULL,
    first_us  INTEGER NOT NULL, -- the earliest frame's captured_at
    last_us   INTEGER NOT NULL, -- the latest one's
    frames    INTEGER NOT NULL,
    bytes     INTEGER NOT NULL, -- of the file, up to the end of the last indexed frame
    UNIQUE (module_id, name)
) STRICT;

CREATE INDEX segments_by_time ON segments (module_id, first_us, id);

-- Frames that were indexed together, at most 60 s from the earliest to the latest: then a search by time knows how far it
-- has to look back.
CREATE TABLE footage (
    id         INTEGER NOT NULL PRIMARY KEY,
    segment_id INTEGER NOT NULL REFERENCES segments (id) ON DELETE CASCADE,
    module_id  TEXT    NOT NULL,
    first_us   INTEGER NOT NULL,
    last_us    INTEGER NOT NULL,
    body       BLOB    NOT NULL, -- footage.rs
    CHECK (first_us <= last_us)
) STRICT;

CREATE INDEX footage_by_time ON footage (module_id, first_us, id);
CREATE INDEX footage_by_segment ON footage (segment_id);

-- Files that are to go: taken out of the index first, so that a start after a crash does not take them in again. Refers to no
-- module: it may be gone.
CREATE TABLE doomed_segments (
    module_id TEXT NOT NULL,
    name      TEXT NOT NULL,
    PRIMARY KEY (module_id, name)
) STRICT, WITHOUT ROWID;
