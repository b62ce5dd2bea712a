//! Records summed up by the minute, the hour and the day as they are folded, and stretches of any width made of that.

use std::{collections::BTreeMap, ops::Range};

use iotpi_core::SensorType;
use rusqlite::{Connection, params};

use super::{
    buckets::{Step, Summed},
    failure::Work,
    point::Point,
    readings::{between, folded, stored},
    tail::{Held, Tail},
};

const SECOND: i64 = 1_000_000;
/// The widths that are kept, in seconds, widest first.
pub(super) const WIDTHS: [i64; 3] = [86_400, 3_600, 60];

/// No record is older: a module may say that it took one a year before a hub booted in 1970. A whole day's beginning, so
/// that a query without a beginning is made of whole days.
pub(super) const EARLIEST: i64 = -400 * 86_400 * SECOND;
/// No record is younger: the end of 2100 is as good as never, and a whole day's beginning too.
pub(super) const LATEST: i64 = 47_847 * 86_400 * SECOND;

/// Values summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sum {
    /// How many values.
    pub(super) present: u64,
    /// How many records without one.
    pub(super) missing: u64,
    pub(super) sum: f64,
    range: Option<(f64, f64)>,
}

impl Sum {
    pub(super) fn of(points: &[Point]) -> Self {
        let mut sum = Self::default();
        points.iter().for_each(|point| sum.add(point));
        sum
    }

    fn add(&mut self, point: &Point) {
        match point.outcome.value() {
            Some(value) => {
                self.merge(&Self { present: 1, missing: 0, sum: value, range: Some((value, value)) })
            }
            None => self.missing += 1,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.present += other.present;
        self.missing += other.missing;
        self.sum += other.sum;
        self.range = match (self.range, other.range) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }

    pub(super) fn min(&self) -> Option<f64> {
        self.range.map(|(min, _)| min)
    }

    pub(super) fn max(&self) -> Option<f64> {
        self.range.map(|(_, max)| max)
    }

    #[allow(clippy::cast_precision_loss)] // Nobody has 2^53 records in one stretch.
    pub(super) fn avg(&self) -> Option<f64> {
        // A sum that overflowed says nothing of the mean.
        (self.present > 0).then(|| self.sum / self.present as f64).filter(|avg| avg.is_finite())
    }
}

/// Adds records to the rollups of their series: late ones correct what is there.
///
/// # Errors
/// SQLite's.
pub(super) fn add(db: &Connection, row: i64, points: &[Point]) -> Work<()> {
    let mut upsert = db.prepare_cached(
        "INSERT INTO rollups (series_id, width, start, present, missing, sum, min, max)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE SET present = present + excluded.present, missing = missing + excluded.missing,
             sum = sum + excluded.sum,
             min = coalesce(min(min, excluded.min), min, excluded.min),
             max = coalesce(max(max, excluded.max), max, excluded.max)",
    )?;
    for width in WIDTHS {
        for run in points.chunk_by(|a, b| unit_of(a.taken_us, width) == unit_of(b.taken_us, width)) {
            let (sum, start) = (Sum::of(run), unit_of(run[0].taken_us, width));
            upsert.execute(params![
                row,
                width,
                start,
                sum.present,
                sum.missing,
                sum.sum,
                sum.min(),
                sum.max()
            ])?;
        }
    }
    Ok(())
}

/// The stretch of `width` seconds a moment is in, counted from 1970, also before it.
pub(super) fn unit_of(moment_us: i64, width: i64) -> i64 {
    moment_us.div_euclid(width * SECOND)
}

/// The sums of one series, by the first moment of each stretch.
type Stretches = BTreeMap<i64, Sum>;

/// Sums up one step of a page: see [`buckets`](super::buckets).
///
/// # Errors
/// SQLite's; damage when a chunk cannot be read.
pub(super) fn sum_step(db: &Connection, tail: &Tail, step: &Step) -> Work<Summed> {
    let mut summed = Summed::default();
    let held = tail.look_with(db, |series| {
        let waiting = |points: &[Point]| between(points, step.from_us, step.until_us).to_vec();
        let mut held: Vec<Held> = Vec::new();
        for one in series.asked_behind(&step.query, step.after.as_ref()) {
            if held.len() == step.series {
                summed.stopped_at = held.last().map(|last| last.module_id.clone());
                break;
            }
            let last_us = one.last_us();
            summed.goes_on |= last_us >= Some(step.until_us);
            if last_us >= Some(step.from_us) {
                held.push(one.hold(waiting));
            }
        }
        held
    })?;
    for series in held {
        let (module, unit) = (series.module_id.clone(), series.quantity.unit());
        let stretches = stretches(db, series, step.from_us..step.until_us, step.width_us, step.most)?;
        summed
            .sums
            .extend(stretches.into_iter().map(|(start, sum)| (start, module.clone(), unit.clone(), sum)));
    }
    Ok(summed)
}

/// When the first record of a sensor type was taken, or earlier; nothing when there is none on the disk.
pub(super) fn first_us(db: &Connection, tail: &Tail, sensor: &SensorType) -> Work<Option<i64>> {
    let rows: Vec<i64> =
        tail.look_with(db, |series| series.of_sensor(sensor).map(|one| one.row).collect())?;
    let mut first = None;
    for row in rows {
        for width in WIDTHS {
            let sql = "SELECT min(start) FROM rollups WHERE series_id = ?1 AND width = ?2";
            let found: Option<i64> =
                db.prepare_cached(sql)?.query_row(params![row, width], |row| row.get(0))?;
            let found = found.map(|start| start.saturating_mul(width * SECOND));
            first = first.into_iter().chain(found).min();
        }
    }
    Ok(first)
}

/// The first `most` stretches of a series that have a record.
fn stretches(db: &Connection, series: Held, time: Range<i64>, width_us: i64, most: usize) -> Work<Stretches> {
    let row = series.row;
    let mut stretches = Stretches::new();
    // Behind this moment, stretches may be missing: the rollups were cut short there.
    let mut complete_until = i64::MAX;
    let mut waiting = Vec::new();
    let (from, until) = (time.start, time.end);
    if let Some(folded) = folded(db, row)? {
        waiting = series.waiting(folded);
        // The widest kept width the asked one is made of.
        let kept = WIDTHS.iter().position(|width| width_us % (width * SECOND) == 0);
        sum_folded(
            db,
            row,
            time,
            width_us,
            most,
            kept.unwrap_or(WIDTHS.len()),
            &mut stretches,
            &mut complete_until,
        )?;
    }
    for point in between(&waiting, from, until) {
        stretches.entry(start_of(point.taken_us, width_us)).or_default().add(point);
    }
    stretches.retain(|start, _| *start < complete_until);
    Ok(stretches)
}

/// Adds the folded records of a stretch of time: whole units of a kept width from the rollups, what is left at both ends
/// from the next finer width, and in the end from the records themselves.
#[allow(clippy::too_many_arguments)] // One recursion, private to this file.
fn sum_folded(
    db: &Connection,
    row: i64,
    time: Range<i64>,
    width_us: i64,
    most: usize,
    kept: usize,
    stretches: &mut Stretches,
    complete_until: &mut i64,
) -> Work<()> {
    if time.is_empty() {
        return Ok(());
    }
    let Some(width) = WIDTHS.get(kept) else {
        return sum_records(db, row, time, width_us, most, stretches, complete_until);
    };
    let unit = width * SECOND;
    let first = time.start.div_euclid(unit).saturating_add(i64::from(time.start.rem_euclid(unit) > 0));
    let last = time.end.div_euclid(unit);
    if first >= last {
        return sum_folded(db, row, time, width_us, most, kept + 1, stretches, complete_until);
    }
    let (head, tail) = (time.start..first.saturating_mul(unit), last.saturating_mul(unit)..time.end);
    sum_folded(db, row, head, width_us, most, kept + 1, stretches, complete_until)?;
    let mut statement = db.prepare_cached(ROLLUPS)?;
    let mut rows = statement.query(params![row, width, first, last])?;
    let mut found = 0;
    let mut current = None;
    while let Some(row) = rows.next()? {
        let start = start_of(row.get::<_, i64>(0)?.saturating_mul(unit), width_us);
        if current != Some(start) {
            if found == most {
                *complete_until = (*complete_until).min(start);
                return Ok(());
            }
            (current, found) = (Some(start), found + 1);
        }
        let range = row.get::<_, Option<f64>>(4)?.zip(row.get(5)?);
        let sum = Sum { present: row.get(1)?, missing: row.get(2)?, sum: row.get(3)?, range };
        stretches.entry(start).or_default().merge(&sum);
    }
    sum_folded(db, row, tail, width_us, most, kept + 1, stretches, complete_until)
}

/// The rollups of one series and width in a stretch of time: put together here, not by SQLite, which would sort them all to
/// group them.
pub(super) const ROLLUPS: &str = "SELECT start, present, missing, sum, min, max FROM rollups
     WHERE series_id = ?1 AND width = ?2 AND start >= ?3 AND start < ?4 ORDER BY start";

fn sum_records(
    db: &Connection,
    row: i64,
    time: Range<i64>,
    width_us: i64,
    most: usize,
    stretches: &mut Stretches,
    complete_until: &mut i64,
) -> Work<()> {
    let mut found = Stretches::new();
    stored(db, row, time, true, |points| {
        for point in points {
            found.entry(start_of(point.taken_us, width_us)).or_default().add(point);
        }
        // The last stretch may go on in the next chunk.
        found.len() <= most
    })?;
    if found.len() > most {
        *complete_until = found.keys().next_back().copied().unwrap_or(i64::MAX).min(*complete_until);
    }
    for (start, sum) in found {
        stretches.entry(start).or_default().merge(&sum);
    }
    Ok(())
}

/// The first moment of the stretch a moment is in, UTC-aligned also before 1970.
pub(super) fn start_of(moment: i64, width: i64) -> i64 {
    moment.saturating_sub(moment.rem_euclid(width))
}
