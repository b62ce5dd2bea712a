//! Compaction: moves records from the memtable into the chunks and rollups of their series.
//!
//! One series is one step of a few tenths of a millisecond, in a transaction together with the writes that are queued:
//! compaction delays no write for longer, and needs no commit of its own while there are writes.

use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::{
    chunk::{self, MAX_POINTS, PARTITION_US},
    point::{Point, merged},
    rollups,
    sum::{Sum, UNROLLED, unrolled_width},
};
use crate::store::sqlite::failure::{EngineResult, Failure};

/// Moves ordered records of a series into its chunks and rollups, and stores that its WAL records before
/// `compacted_to` are compacted. Does nothing if the series is gone.
///
/// # Errors
/// SQLite's; damage if a chunk cannot be decoded.
pub(crate) fn compact(db: &Connection, row: i64, points: &[Point], compacted_to: u64) -> EngineResult<()> {
    let numbered = points.iter().filter(|point| point.numbered).count();
    let known = db
        .prepare_cached("UPDATE series SET compacted_to = ?2, received = received + ?3 WHERE id = ?1")?
        .execute(params![row, compacted_to, numbered])?;
    if known == 0 {
        return Ok(());
    }
    insert_points(db, row, points)
}

/// Inserts ordered records into the chunks of their times, and into the rollups where those are worth it.
///
/// # Errors
/// SQLite's; damage if a chunk cannot be decoded.
pub(crate) fn insert_points(db: &Connection, row: i64, mut points: &[Point]) -> EngineResult<()> {
    while let Some(first) = points.first() {
        // The chunk that begins before the first record, and the start of the next chunk.
        let target = Chunk::find(
            db,
            "SELECT id, last_us, count, unrolled_width FROM chunks WHERE series_id = ?1 AND first_us <= ?2
             ORDER BY first_us DESC, id DESC LIMIT 1",
            params![row, first.taken_us],
        )?;
        let next: Option<i64> = db
            .prepare_cached("SELECT min(first_us) FROM chunks WHERE series_id = ?1 AND first_us > ?2")?
            .query_row(params![row, first.taken_us], |row| row.get(0))?;
        let partition = partition(first.taken_us);
        let here = points.partition_point(|point| {
            next.is_none_or(|next| point.taken_us < next) && self::partition(point.taken_us) == partition
        });
        let (run, rest) = points.split_at(here);
        points = rest;
        match target {
            Some(chunk) if chunk.last_us > run[0].taken_us => {
                let together = merged(chunk.points(db)?, run.iter().cloned());
                extend(db, row, &chunk, run, &together, next.is_none())?;
            }
            Some(chunk) if chunk.count < MAX_POINTS && self::partition(chunk.last_us) == partition => {
                let together = merged(chunk.points(db)?, run.iter().cloned());
                // If records have become sparser, the rollups would no longer be much smaller: the next chunk
                // has none.
                if unrolled_width(&together) > chunk.unrolled_width {
                    write(db, row, None, run, MAX_POINTS)?;
                } else {
                    extend(db, row, &chunk, run, &together, next.is_none())?;
                }
            }
            _ => write(db, row, None, run, MAX_POINTS)?,
        }
    }
    Ok(())
}

/// Writes a chunk together with the records `run` that are added to it.
fn extend(
    db: &Connection,
    row: i64,
    chunk: &Chunk,
    run: &[Point],
    together: &[Point],
    is_newest: bool,
) -> EngineResult<()> {
    rollups::add(db, row, run, |width| width > chunk.unrolled_width)?;
    // Chunks that late records split are left half full; otherwise each late record would split a chunk
    // again.
    let size = match is_newest {
        false => together.len().div_ceil(together.len().div_ceil(MAX_POINTS)),
        true => MAX_POINTS,
    };
    write(db, row, Some(chunk), together, size)
}

/// The number of the [`PARTITION_US`] interval that contains a time. No chunk spans two, so that old ones can
/// be deleted.
fn partition(moment_us: i64) -> i64 {
    moment_us.div_euclid(PARTITION_US)
}

/// Writes records as chunks of up to `size`, the first in place of `replaced`, and adds them to the rollups
/// that are worth it and do not include `replaced`.
fn write(
    db: &Connection,
    row: i64,
    replaced: Option<&Chunk>,
    points: &[Point],
    size: usize,
) -> EngineResult<()> {
    let before = replaced.map_or(UNROLLED, |chunk| chunk.unrolled_width);
    let mut replaced = replaced.map(|chunk| chunk.id);
    for part in points.chunks(size) {
        let now = unrolled_width(part).min(before);
        rollups::add(db, row, part, |width| now < width && width <= before)?;
        if let (Some(first), Some(last)) = (part.first(), part.last()) {
            insert(db, row, replaced.take(), (first, last), part, now)?;
        }
    }
    Ok(())
}

fn insert(
    db: &Connection,
    row: i64,
    replaced: Option<i64>,
    (first, last): (&Point, &Point),
    points: &[Point],
    unrolled_width: i64,
) -> EngineResult<()> {
    let sum = Sum::of(points);
    let body =
        chunk::encode(points).map_err(|error| Failure::transient(&format!("compress records: {error}")))?;
    let received_ms = points.iter().map(|point| point.received_ms).max().unwrap_or(0);
    db.prepare_cached(
        "INSERT INTO chunks (id, series_id, first_us, last_us, count, present, min, max, sum, body, unrolled_width,
                             received_us, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, length(?10))
         ON CONFLICT (id) DO UPDATE SET first_us = excluded.first_us, last_us = excluded.last_us,
             count = excluded.count, present = excluded.present, min = excluded.min, max = excluded.max,
             sum = excluded.sum, body = excluded.body, unrolled_width = excluded.unrolled_width,
             received_us = excluded.received_us, bytes = excluded.bytes",
    )?
    .execute(params![
        replaced,
        row,
        first.taken_us,
        last.taken_us,
        points.len(),
        sum.present,
        sum.min(),
        sum.max(),
        sum.sum,
        body,
        unrolled_width,
        received_ms.saturating_mul(1000),
    ])?;
    Ok(())
}

/// Removes all records of a series' last chunk except the newest, which every series keeps. Returns its time;
/// `None` if there was no other.
///
/// # Errors
/// SQLite's; damage if the chunk cannot be decoded.
pub(crate) fn retain_newest(db: &Connection, row: i64) -> EngineResult<Option<i64>> {
    let chunk = Chunk::find(
        db,
        "SELECT id, last_us, count, unrolled_width FROM chunks WHERE series_id = ?1
         ORDER BY first_us DESC, id DESC LIMIT 1",
        [row],
    )?;
    let Some(chunk) = chunk.filter(|chunk| chunk.count > 1) else { return Ok(None) };
    let Some(newest) = chunk.points(db)?.pop() else { return Ok(None) };
    insert(db, row, Some(chunk.id), (&newest, &newest), std::slice::from_ref(&newest), chunk.unrolled_width)?;
    Ok(Some(newest.taken_us))
}

/// A chunk by its row, without its body.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) id: i64,
    pub(crate) last_us: i64,
    count: usize,
    /// The widest width, in seconds, whose rollups do not include its records; 0 if all rollups do.
    pub(crate) unrolled_width: i64,
}

impl Chunk {
    fn find(db: &Connection, sql: &str, params: impl Params) -> EngineResult<Option<Self>> {
        let read = |row: &Row<'_>| {
            Ok(Self {
                id: row.get(0)?,
                last_us: row.get(1)?,
                count: row.get(2)?,
                unrolled_width: row.get(3)?,
            })
        };
        Ok(db.prepare_cached(sql)?.query_row(params, read).optional()?)
    }

    /// The chunk in this row, if there is one.
    pub(crate) fn of_row(db: &Connection, id: i64) -> EngineResult<Option<Self>> {
        Self::find(db, "SELECT id, last_us, count, unrolled_width FROM chunks WHERE id = ?1", [id])
    }

    /// Its records.
    ///
    /// # Errors
    /// SQLite's; damage.
    pub(crate) fn points(&self, db: &Connection) -> EngineResult<Vec<Point>> {
        let mut body = db.prepare_cached("SELECT body FROM chunks WHERE id = ?1")?;
        let mut rows = body.query([self.id])?;
        match rows.next()? {
            Some(row) => chunk::decode_points(row.get_ref(0)?.as_blob()?),
            None => Ok(Vec::new()),
        }
    }
}
