//! Rollups: records summed by minute, hour and day during compaction, and buckets of any width computed from
//! them.

use std::{ops::Range, sync::Arc};

use iotpi_core::SensorType;
use rusqlite::{Connection, params};

use super::{
    bucket_sums::BucketSums,
    buckets::{Step, Summed},
    memtable::{Memtable, SeriesSnapshot, compacted_to},
    point::{Point, between},
    runs::{Runs, Ticket},
    sum::{SECOND, Sum, WIDTHS, units},
    sum_runs::SeriesSum,
};
use crate::store::sqlite::failure::EngineResult;

/// Adds ordered records to the rollups of their series, of the widths in `which`; late records update
/// existing rollups.
///
/// # Errors
/// SQLite's.
pub(crate) fn add(
    db: &Connection,
    row: i64,
    points: &[Point],
    which: impl Fn(i64) -> bool,
) -> EngineResult<()> {
    let mut upsert = db.prepare_cached(
        "INSERT INTO rollups (series_id, width, start, present, missing, sum, min, max)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE SET present = present + excluded.present, missing = missing + excluded.missing,
             sum = sum + excluded.sum,
             min = coalesce(min(min, excluded.min), min, excluded.min),
             max = coalesce(max(max, excluded.max), max, excluded.max)",
    )?;
    for width in WIDTHS.into_iter().filter(|width| which(*width)) {
        for (start, sum) in units(points, width) {
            let row = params![row, width, start, sum.present, sum.missing, sum.sum, sum.min(), sum.max()];
            upsert.execute(row)?;
        }
    }
    Ok(())
}

/// Computes one step of a page: see [`buckets`](super::buckets).
///
/// # Errors
/// SQLite's; damage if a chunk cannot be decoded.
pub(crate) fn sum_step(db: &Connection, memtable: &Memtable, step: &Step) -> EngineResult<Summed> {
    let mut begun = None;
    let summed = sum(db, memtable, step, &mut begun);
    if let Some(ticket) = begun {
        memtable.end_sums(&step.query.sensor, ticket, summed.as_ref().ok().map(|summed| step.run(summed)));
    }
    summed
}

fn sum(
    db: &Connection,
    memtable: &Memtable,
    step: &Step,
    begun: &mut Option<Ticket>,
) -> EngineResult<Summed> {
    let mut summed = Summed::default();
    let held = memtable.snapshot(db, |series| {
        // Only sums of all series are kept.
        if step.query.is_unrestricted() {
            *begun = series.runs(&step.query.sensor).map(Runs::begin);
        }
        let waiting = |points: &[Point]| between(points, step.from_us, step.until_us).to_vec();
        let mut held: Vec<SeriesSnapshot> = Vec::new();
        for one in series.matching_after(&step.query, step.after.as_ref()) {
            if held.len() == step.series {
                summed.stopped_at = held.last().map(|last| last.name.origin.clone());
                break;
            }
            let last_us = one.last_us();
            summed.goes_on |= last_us >= Some(step.until_us);
            if last_us >= Some(step.from_us) {
                held.push(one.snapshot(waiting));
            }
        }
        held
    })?;
    for series in held {
        let name = Arc::clone(&series.name);
        let buckets = series_buckets(db, series, step.from_us..step.until_us, step.width_us, step.most)?;
        summed.sums.extend(buckets.map(|(start, sum)| SeriesSum { start, name: Arc::clone(&name), sum }));
    }
    summed.sums.sort_by(|a, b| a.key().cmp(&b.key()));
    summed.sums.truncate(step.most);
    Ok(summed)
}

/// A lower bound of the time of the first record included in a sum on disk; `None` if there is no sum.
/// Records of chunks without rollups are not read: [`memtable`](super::memtable) has the times of chunks.
pub(crate) fn first_us(
    db: &Connection,
    memtable: &Memtable,
    sensor: &SensorType,
) -> EngineResult<Option<i64>> {
    let rows: Vec<i64> =
        memtable.snapshot(db, |series| series.of_sensor(sensor).map(|one| one.id).collect())?;
    let mut first = None;
    for row in rows {
        for width in WIDTHS {
            let sql = "SELECT min(start) FROM rollups WHERE series_id = ?1 AND width = ?2";
            let found: Option<i64> =
                db.prepare_cached(sql)?.query_row(params![row, width], |row| row.get(0))?;
            let found = found.map(|start| start.saturating_mul(width * SECOND));
            first = first.into_iter().chain(found).min();
        }
        let sql = "SELECT min(first_us) FROM rollup_blocks WHERE series_id = ?1";
        let found: Option<i64> = db.prepare_cached(sql)?.query_row([row], |row| row.get(0))?;
        first = first.into_iter().chain(found).min();
    }
    Ok(first)
}

/// The first `most` buckets of a series that have a record.
fn series_buckets(
    db: &Connection,
    series: SeriesSnapshot,
    time: Range<i64>,
    width_us: i64,
    most: usize,
) -> EngineResult<impl Iterator<Item = (i64, Sum)>> {
    let row = series.id;
    let mut buckets = BucketSums::new(width_us, most);
    if let Some(compacted_to) = compacted_to(db, row)? {
        let waiting = series.uncompacted(compacted_to);
        buckets.add_compacted(db, row, time.clone())?;
        for point in between(&waiting, time.start, time.end) {
            buckets.add(point.taken_us, point.outcome.value());
        }
    }
    Ok(buckets.complete())
}
