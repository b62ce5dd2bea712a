-- A rollup is kept only where it is much smaller than the readings it summarizes (docs/design/0021). Elsewhere a query makes it
-- of the chunk, and when the chunk expires, its sums become one compressed block. The program then removes the rollups of an
-- older database that are not worth their room, and moves the readings of the first form of database into chunks.

-- The widest width, in seconds, whose rollups do not include the records of this chunk: queries of that width and of narrower
-- ones add the records themselves. 0: the rollups of all widths include them.
ALTER TABLE chunks ADD COLUMN unrolled_width INTEGER NOT NULL DEFAULT 0;

-- The chunks that a query has to add up itself.
CREATE INDEX chunks_unrolled ON chunks (series_id, first_us, id, unrolled_width, last_us) WHERE unrolled_width > 0;

-- Sums of expired records that are in no rollup of their width or of a wider one, up to `unrolled_width`. Blocks of a series
-- may overlap: a query adds them all.
CREATE TABLE rollup_blocks (
    id             INTEGER NOT NULL PRIMARY KEY,
    series_id      INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    width          INTEGER NOT NULL, -- seconds: what each sum is of
    unrolled_width INTEGER NOT NULL, -- seconds: the widest width whose rollups do not include these sums
    first_us       INTEGER NOT NULL, -- the first moment of the first sum's stretch
    last_us        INTEGER NOT NULL, -- the first moment of the last sum's stretch
    body           BLOB    NOT NULL, -- blocks.rs
    CHECK (first_us <= last_us AND width <= unrolled_width)
) STRICT;

CREATE INDEX rollup_blocks_by_time ON rollup_blocks (series_id, first_us, id, last_us, width, unrolled_width);
