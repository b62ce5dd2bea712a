//! Deletes old data in small steps: raw records by whole chunks, rollups by rows and by whole blocks.
//!
//! Rollups outlive the records they summarize. When a chunk without rollups expires, its sums become a block.
//! Rollups of records that still exist are not deleted, because a query could not tell which ones it has to
//! compute.

use iotpi_core::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    compaction,
    removed::REMOVED,
    rollup_blocks,
    sum::{SECOND, WIDTHS, unit_of, units},
};
use crate::store::sqlite::{columns::parsed, failure::EngineResult, writer::WriteContext};
use crate::store::{ExpiryPlan, ExpiryReport};

/// The number of rollups deleted in one transaction: a few milliseconds on an SD card, as is one chunk.
const STEP: usize = 500;

/// A part of one series to delete.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Removal {
    /// Chunks that end before this time, except the last one: a series keeps at least one record.
    Chunks {
        /// The id of the series.
        series: i64,
        /// Microseconds since 1970.
        before_us: i64,
        /// The time before which rollups are not kept, for each of [`WIDTHS`], in microseconds.
        rollups_before_us: [i64; WIDTHS.len()],
    },
    /// Rollups of a width, in seconds, that begin before this unit of it.
    Rollups {
        /// The id of the series.
        series: i64,
        /// Seconds.
        width: i64,
        /// In units of the width.
        before: i64,
    },
    /// Rollups of minutes and hours in a time range whose records are gone.
    ShortSums {
        /// The id of the series.
        series: i64,
        /// Microseconds since 1970.
        from_us: i64,
        /// Microseconds since 1970: the first record that still exists.
        before_us: i64,
    },
    /// All records of the last chunk except the newest.
    AllButNewest {
        /// The id of the series.
        series: i64,
    },
}

/// The data that the plan would delete, and its series. Rollups are counted by the time they span.
pub(crate) fn plan(db: &Connection, plan: &ExpiryPlan) -> EngineResult<(ExpiryReport, Vec<Removal>)> {
    let mut report = ExpiryReport::default();
    let mut cuts = Vec::new();
    let rollups_before = [plan.days_before, plan.hours_before, plan.minutes_before];
    let rollups_before_us = rollups_before.map(|before| before.map_or(i64::MIN, Timestamp::as_micros));
    let mut series =
        db.prepare_cached("SELECT id, module_id, sensor FROM series WHERE module_id <> ?1 ORDER BY id")?;
    let rows = series.query_map([REMOVED], |row| Ok((row.get(0)?, parsed(row, 1)?, parsed(row, 2)?)))?;
    for row in rows {
        let (series, module_id, sensor) = row?;
        report.raw.total += chunked(db, series, i64::MAX)?.1;
        let raw_before_us = plan.raw_before(&module_id, &sensor).map_or(i64::MIN, Timestamp::as_micros);
        let (chunks, records) = chunked(db, series, raw_before_us)?;
        let cut = Removal::Chunks { series, before_us: raw_before_us, rollups_before_us };
        if chunks > 0 && first_deleted(db, series, raw_before_us)?.is_some() {
            report.raw.deleted += records - kept_for_being_last(db, series, raw_before_us)?;
            cuts.push(cut);
        }
        let kept_from_us = first_kept(db, series, raw_before_us)?.unwrap_or(i64::MAX);
        for ((before_us, width), expired) in rollups_before_us
            .into_iter()
            .zip(WIDTHS)
            .zip([&mut report.days, &mut report.hours, &mut report.minutes])
            .rev()
        {
            let Some((first, last)) = spanned(db, series, width)? else { continue };
            expired.total += (last - first + 1).unsigned_abs();
            let before = unit_of(before_us.min(kept_from_us), width);
            if first < before {
                expired.deleted += (before.min(last + 1) - first).unsigned_abs();
                cuts.push(Removal::Rollups { series, width, before });
            }
        }
    }
    Ok((report, cuts))
}

/// Carries out one step; returns false if there was nothing left to delete.
pub(crate) fn step(tx: &mut WriteContext<'_>, cut: Removal) -> EngineResult<bool> {
    let (db, ingest) = tx.split();
    match cut {
        Removal::Chunks { series, before_us, rollups_before_us } => {
            match first_deleted(db, series, before_us)? {
                Some(chunk) => {
                    expire_chunk(db, series, chunk, rollups_before_us)?;
                    ingest.expire(series, before_us);
                    Ok(true)
                }
                None => Ok(false),
            }
        }
        Removal::Rollups { series, width, before } => {
            let sql = "DELETE FROM rollups WHERE (series_id, width, start) IN
                       (SELECT series_id, width, start FROM rollups
                        WHERE series_id = ?1 AND width = ?2 AND start < ?3 ORDER BY start LIMIT ?4)";
            let rows = db.prepare_cached(sql)?.execute(params![series, width, before, STEP])?;
            ingest.expire(series, before.saturating_mul(width * SECOND));
            Ok(rows > 0 || rollup_blocks::expire(db, series, width, before)?)
        }
        Removal::ShortSums { series, from_us, before_us } => {
            ingest.expire(series, before_us);
            delete_short_sums(db, series, from_us, before_us)
        }
        Removal::AllButNewest { series } => {
            let newest = compaction::retain_newest(db, series)?;
            if let Some(newest_us) = newest {
                ingest.expire(series, newest_us);
            }
            Ok(newest.is_some())
        }
    }
}

/// Deletes some rollups of minutes and hours in a time range. Returns whether there were any.
fn delete_short_sums(db: &Connection, series: i64, from_us: i64, before_us: i64) -> EngineResult<bool> {
    let sql = "DELETE FROM rollups WHERE (series_id, width, start) IN
               (SELECT series_id, width, start FROM rollups
                WHERE series_id = ?1 AND width = ?2 AND start >= ?3 AND start < ?4 ORDER BY start LIMIT ?5)";
    let mut rows = 0;
    for width in &WIDTHS[1..] {
        let (from, before) = (unit_of(from_us, *width), unit_of(before_us, *width));
        rows += db.prepare_cached(sql)?.execute(params![series, width, from, before, STEP])?;
    }
    Ok(rows > 0)
}

/// Deletes a chunk. The sums of its records that are in no rollup become a block of the narrowest width that
/// is kept.
fn expire_chunk(
    db: &Connection,
    series: i64,
    chunk: i64,
    rollups_before_us: [i64; WIDTHS.len()],
) -> EngineResult<()> {
    if let Some(chunk) = compaction::Chunk::of_row(db, chunk)? {
        let is_kept = |(before_us, width): &(i64, i64)| {
            *width <= chunk.unrolled_width && unit_of(chunk.last_us, *width) >= unit_of(*before_us, *width)
        };
        let narrowest = rollups_before_us.into_iter().zip(WIDTHS).rev().find(is_kept);
        if let Some((_, width)) = narrowest {
            let sums: Vec<_> = units(&chunk.points(db)?, width).collect();
            rollup_blocks::insert(db, series, width, chunk.unrolled_width, &sums)?;
        }
    }
    db.prepare_cached("DELETE FROM chunks WHERE id = ?1")?.execute([chunk])?;
    Ok(())
}

/// The series with the oldest chunk, if that chunk may be deleted.
pub(crate) fn oldest(db: &Connection, before: Timestamp) -> EngineResult<Option<Removal>> {
    let sql = "SELECT id, (SELECT min(first_us) FROM chunks WHERE series_id = series.id) AS oldest
               FROM series WHERE oldest < ?1 ORDER BY oldest";
    let mut found = db.prepare_cached(sql)?;
    let rows = found.query_map([before.as_micros()], |row| row.get::<_, i64>(0))?;
    for series in rows {
        let (series, before_us) = (series?, before.as_micros());
        if first_deleted(db, series, before_us)?.is_some() {
            let rollups_before_us = [i64::MIN; WIDTHS.len()];
            return Ok(Some(Removal::Chunks { series, before_us, rollups_before_us }));
        }
    }
    Ok(None)
}

/// The row of the oldest chunk that ends before a time, unless it is the last one.
fn first_deleted(db: &Connection, series: i64, before_us: i64) -> EngineResult<Option<i64>> {
    let sql = "SELECT id FROM chunks WHERE series_id = ?1 AND first_us < ?2 AND last_us < ?2
                 AND id <> (SELECT id FROM chunks WHERE series_id = ?1 ORDER BY first_us DESC, id DESC LIMIT 1)
               ORDER BY first_us, id LIMIT 1";
    Ok(db.prepare_cached(sql)?.query_row([series, before_us], |row| row.get(0)).optional()?)
}

/// The time of the first record that stays when chunks that end before a time are deleted.
fn first_kept(db: &Connection, series: i64, before_us: i64) -> EngineResult<Option<i64>> {
    let sql = "SELECT coalesce((SELECT min(first_us) FROM chunks WHERE series_id = ?1 AND last_us >= ?2),
                               (SELECT max(first_us) FROM chunks WHERE series_id = ?1))";
    Ok(db.prepare_cached(sql)?.query_row([series, before_us], |row| row.get(0))?)
}

/// The numbers of chunks, and of records in them, that end before a time.
fn chunked(db: &Connection, series: i64, before_us: i64) -> EngineResult<(u64, u64)> {
    let sql = "SELECT count(*), coalesce(sum(count), 0) FROM chunks
               WHERE series_id = ?1 AND first_us < ?2 AND last_us < ?2";
    Ok(db.prepare_cached(sql)?.query_row([series, before_us], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// The number of old records that stay because they are in the last chunk.
fn kept_for_being_last(db: &Connection, series: i64, before_us: i64) -> EngineResult<u64> {
    let sql =
        "SELECT count, last_us FROM chunks WHERE series_id = ?1 ORDER BY first_us DESC, id DESC LIMIT 1";
    let last = db.prepare_cached(sql)?.query_row([series], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)));
    Ok(last.optional()?.map_or(0, |(count, last_us)| if last_us < before_us { count } else { 0 }))
}

/// The first and the last unit of a width that has a rollup, or records to compute one from.
fn spanned(db: &Connection, series: i64, width: i64) -> EngineResult<Option<(i64, i64)>> {
    let sql = "SELECT (SELECT min(start) FROM rollups WHERE series_id = ?1 AND width = ?2),
                      (SELECT max(start) FROM rollups WHERE series_id = ?1 AND width = ?2)";
    let ends = |row: &rusqlite::Row<'_>| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get(1)?));
    let rows = db.prepare_cached(sql)?.query_row([series, width], ends)?;
    let sql = "SELECT min(first_us), max(last_us) FROM
                 (SELECT first_us, last_us FROM chunks
                  WHERE series_id = ?1 AND unrolled_width > 0 AND unrolled_width >= ?2
                  UNION ALL
                  SELECT first_us, last_us FROM rollup_blocks
                  WHERE series_id = ?1 AND width <= ?2 AND unrolled_width >= ?2)";
    let others: Option<(i64, i64)> = db.prepare_cached(sql)?.query_row([series, width], ends)?;
    let others = others.map(|(first, last)| (unit_of(first, width), unit_of(last, width)));
    Ok(match (rows, others) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    })
}
