//! Removing what is old, a small step at a time: raw records by whole chunks, rollups by rows.

use iotpi_core::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{columns::parsed, failure::Work, removals::REMOVED, rollups, writer::Desk};
use crate::store::{ExpiryPlan, ExpiryReport};

/// Rollups removed in one transaction: a few milliseconds on an SD card, as is one chunk.
const STEP: usize = 500;

/// Of one series, what goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// Chunks that end before this moment, but for the last one: a series has at least one record.
    Chunks {
        /// Which series.
        series: i64,
        /// Microseconds.
        before_us: i64,
    },
    /// Rollups of that width, in seconds, that begin before this unit of it.
    Rollups {
        /// Which series.
        series: i64,
        /// Seconds.
        width: i64,
        /// In units of the width.
        before: i64,
    },
}

/// What the plan would take, and from which series. Rollups are counted as the time they span.
pub(super) fn plan(db: &Connection, plan: &ExpiryPlan) -> Work<(ExpiryReport, Vec<Cut>)> {
    let mut report = ExpiryReport::default();
    let mut cuts = Vec::new();
    let mut series =
        db.prepare_cached("SELECT id, module_id, sensor FROM series WHERE module_id <> ?1 ORDER BY id")?;
    let rows = series.query_map([REMOVED], |row| Ok((row.get(0)?, parsed(row, 1)?, parsed(row, 2)?)))?;
    for row in rows {
        let (series, module_id, sensor) = row?;
        report.raw.of += chunked(db, series, i64::MAX)?.1;
        if let Some(before) = plan.raw_before(&module_id, &sensor) {
            let before_us = before.as_micros();
            let (chunks, records) = chunked(db, series, before_us)?;
            let cut = Cut::Chunks { series, before_us };
            if chunks > 0 && first_that_goes(db, cut)?.is_some() {
                report.raw.gone += records - kept_for_being_last(db, series, before_us)?;
                cuts.push(cut);
            }
        }
        for ((before, width), told) in [plan.minutes_before, plan.hours_before, plan.days_before]
            .into_iter()
            .zip(rollups::WIDTHS.into_iter().rev())
            .zip([&mut report.minutes, &mut report.hours, &mut report.days])
        {
            let Some((first, last)) = spanned(db, series, width)? else { continue };
            told.of += (last - first + 1).unsigned_abs();
            let Some(before) = before.map(|before| rollups::unit_of(before.as_micros(), width)) else {
                continue;
            };
            if first < before {
                told.gone += (before.min(last + 1) - first).unsigned_abs();
                cuts.push(Cut::Rollups { series, width, before });
            }
        }
    }
    Ok((report, cuts))
}

/// Takes one step of a cut; answers false when there was nothing left to take.
pub(super) fn step(desk: &mut Desk<'_>, cut: Cut) -> Work<bool> {
    let (db, journal) = desk.parts();
    match cut {
        Cut::Chunks { series, before_us } => match first_that_goes(db, cut)? {
            Some(chunk) => {
                db.prepare_cached("DELETE FROM chunks WHERE id = ?1")?.execute([chunk])?;
                journal.expired(series, before_us);
                Ok(true)
            }
            None => Ok(false),
        },
        Cut::Rollups { series, width, before } => {
            let sql = "DELETE FROM rollups WHERE (series_id, width, start) IN
                       (SELECT series_id, width, start FROM rollups
                        WHERE series_id = ?1 AND width = ?2 AND start < ?3 ORDER BY start LIMIT ?4)";
            Ok(db.prepare_cached(sql)?.execute(params![series, width, before, STEP])? > 0)
        }
    }
}

/// The series with the oldest chunk, if that may go.
pub(super) fn oldest(db: &Connection, before: Timestamp) -> Work<Option<Cut>> {
    let sql = "SELECT id, (SELECT min(first_us) FROM chunks WHERE series_id = series.id) AS oldest
               FROM series WHERE oldest < ?1 ORDER BY oldest";
    let mut found = db.prepare_cached(sql)?;
    let rows = found.query_map([before.as_micros()], |row| row.get::<_, i64>(0))?;
    for series in rows {
        let cut = Cut::Chunks { series: series?, before_us: before.as_micros() };
        if first_that_goes(db, cut)?.is_some() {
            return Ok(Some(cut));
        }
    }
    Ok(None)
}

/// The oldest chunk of a cut, by its row.
fn first_that_goes(db: &Connection, cut: Cut) -> Work<Option<i64>> {
    let Cut::Chunks { series, before_us } = cut else { return Ok(None) };
    let sql = "SELECT id FROM chunks WHERE series_id = ?1 AND first_us < ?2 AND last_us < ?2
                 AND id <> (SELECT id FROM chunks WHERE series_id = ?1 ORDER BY first_us DESC, id DESC LIMIT 1)
               ORDER BY first_us, id LIMIT 1";
    Ok(db.prepare_cached(sql)?.query_row([series, before_us], |row| row.get(0)).optional()?)
}

/// How many chunks, and records in them, end before a moment.
fn chunked(db: &Connection, series: i64, before_us: i64) -> Work<(u64, u64)> {
    let sql = "SELECT count(*), coalesce(sum(count), 0) FROM chunks
               WHERE series_id = ?1 AND first_us < ?2 AND last_us < ?2";
    Ok(db.prepare_cached(sql)?.query_row([series, before_us], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// How many records stay although they are old, because they are in the last chunk.
fn kept_for_being_last(db: &Connection, series: i64, before_us: i64) -> Work<u64> {
    let sql =
        "SELECT count, last_us FROM chunks WHERE series_id = ?1 ORDER BY first_us DESC, id DESC LIMIT 1";
    let last = db.prepare_cached(sql)?.query_row([series], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)));
    Ok(last.optional()?.map_or(0, |(count, last_us)| if last_us < before_us { count } else { 0 }))
}

/// The first and the last rollup of a width, in its units.
fn spanned(db: &Connection, series: i64, width: i64) -> Work<Option<(i64, i64)>> {
    let sql = "SELECT (SELECT min(start) FROM rollups WHERE series_id = ?1 AND width = ?2),
                      (SELECT max(start) FROM rollups WHERE series_id = ?1 AND width = ?2)";
    let ends = |row: &rusqlite::Row<'_>| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get(1)?));
    Ok(db.prepare_cached(sql)?.query_row([series, width], ends)?)
}
