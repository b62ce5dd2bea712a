//! Removing old records, a small step at a time.

use iotpi_core::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{columns::maybe_moment, columns::parsed, failure::Work};
use crate::store::{Expired, ExpiryPlan, ExpiryReport};

/// Rows removed in one transaction: a few milliseconds on an SD card.
const STEP: usize = 500;

/// Of one series, what the plan lets go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    series: i64,
    /// Rows before this moment go.
    before_us: i64,
    /// But for this row, the newest.
    newest: (i64, i64),
}

/// What the plan would take, and from which series.
pub(super) fn plan(db: &Connection, plan: &ExpiryPlan) -> Work<(ExpiryReport, Vec<Cut>)> {
    let mut report = ExpiryReport::default();
    let mut cuts = Vec::new();
    let mut series = db.prepare_cached("SELECT id, module_id, sensor FROM series ORDER BY id")?;
    let rows = series.query_map([], |row| Ok((row.get(0)?, parsed(row, 1)?, parsed(row, 2)?)))?;
    for row in rows {
        let (series, module_id, sensor) = row?;
        let Some((newest, received_at)) = newest(db, series)? else { continue };
        report.newest_at = report.newest_at.max(received_at);
        report.raw.of += count(db, series, i64::MAX)?;
        if let Some(before) = plan.raw_before(&module_id, &sensor) {
            let cut = Cut { series, before_us: before.as_micros(), newest };
            let gone =
                count(db, series, before.as_micros())?.saturating_sub(u64::from(newest.0 < cut.before_us));
            report.raw.gone += gone;
            if gone > 0 {
                cuts.push(cut);
            }
        }
    }
    Ok((report, cuts))
}

/// Removes up to a step's rows of a cut and answers how many.
pub(super) fn step(db: &Connection, cut: Cut) -> Work<u64> {
    let sql = "DELETE FROM readings WHERE (series_id, taken_at_us, arrival) IN
               (SELECT series_id, taken_at_us, arrival FROM readings
                WHERE series_id = ?1 AND taken_at_us < ?2 AND (taken_at_us, arrival) < (?3, ?4)
                ORDER BY taken_at_us, arrival LIMIT ?5)";
    let gone = db.prepare_cached(sql)?.execute(params![
        cut.series,
        cut.before_us,
        cut.newest.0,
        cut.newest.1,
        STEP
    ])?;
    Ok(gone as u64)
}

/// The series with the oldest row, if that may go.
pub(super) fn oldest(db: &Connection, before: Timestamp) -> Work<Option<Cut>> {
    let sql = "SELECT s.id, (SELECT min(taken_at_us) FROM readings WHERE series_id = s.id) AS oldest
               FROM series AS s WHERE oldest < ?1 ORDER BY oldest";
    let mut found = db.prepare_cached(sql)?;
    let rows = found.query_map([before.as_micros()], |row| row.get::<_, i64>(0))?;
    for series in rows {
        let series = series?;
        let Some((newest, _)) = newest(db, series)? else { continue };
        // Its only row stays.
        if count(db, series, newest.0.min(before.as_micros()))? > 0 {
            return Ok(Some(Cut { series, before_us: before.as_micros(), newest }));
        }
    }
    Ok(None)
}

type Newest = ((i64, i64), Option<Timestamp>);

fn newest(db: &Connection, series: i64) -> Work<Option<Newest>> {
    let sql = "SELECT taken_at_us, arrival, received_at_us FROM readings WHERE series_id = ?1
               ORDER BY taken_at_us DESC, arrival DESC LIMIT 1";
    let found = db
        .prepare_cached(sql)?
        .query_row([series], |row| Ok(((row.get(0)?, row.get(1)?), maybe_moment(row, 2)?)));
    Ok(found.optional()?)
}

fn count(db: &Connection, series: i64, before_us: i64) -> Work<u64> {
    let sql = "SELECT count(*) FROM readings WHERE series_id = ?1 AND taken_at_us < ?2";
    Ok(db.prepare_cached(sql)?.query_row([series, before_us], |row| row.get(0))?)
}

/// What a run took, as far as it came.
pub(super) fn taken(planned: ExpiryReport, gone: u64) -> ExpiryReport {
    ExpiryReport { raw: Expired { gone, of: planned.raw.of }, ..planned }
}
