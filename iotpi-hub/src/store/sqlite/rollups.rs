//! Records summed up by the minute, the hour and the day as they are folded, and stretches of any width made of that.

use std::{ops::Range, time::Duration};

use iotpi_core::{Bucket, ModuleId, Timestamp};
use rusqlite::{Connection, params};

use super::{
    columns::micros,
    failure::Work,
    point::Point,
    readings::{between, folded},
    stretches::Stretches,
    sum::{SECOND, Sum, WIDTHS, units},
    tail::{Held, Tail},
};
use crate::store::{
    Page, PageRequest, ReadingQuery,
    cursor::{self, List},
};

/// No record is older: a module may say that it took one a year before a hub booted in 1970. A whole day's beginning, so
/// that a query without a beginning is made of whole days.
const EARLIEST: i64 = -400 * 86_400 * SECOND;
/// No record is younger: the end of 2100 is as good as never, and a whole day's beginning too.
const LATEST: i64 = 47_847 * 86_400 * SECOND;

/// Adds records, in order, to the rollups of their series, of those widths that `which` names: late records correct what is there.
///
/// # Errors
/// SQLite's.
pub(super) fn add(db: &Connection, row: i64, points: &[Point], which: impl Fn(i64) -> bool) -> Work<()> {
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

/// Takes records, in order, out of the rollups that include them, up to `widest`. Rollups that include others as well keep
/// their least and greatest values: whoever adds these records again finds them as they were.
///
/// # Errors
/// SQLite's.
pub(super) fn take_out(db: &Connection, row: i64, points: &[Point], widest: i64) -> Work<()> {
    let mut whole = db.prepare_cached(
        "DELETE FROM rollups WHERE series_id = ?1 AND width = ?2 AND start = ?3 AND present <= ?4 AND missing <= ?5",
    )?;
    let mut part = db.prepare_cached(
        "UPDATE rollups SET present = max(present - ?4, 0), missing = max(missing - ?5, 0), sum = sum - ?6
         WHERE series_id = ?1 AND width = ?2 AND start = ?3",
    )?;
    for width in WIDTHS.into_iter().filter(|width| *width <= widest) {
        for (start, sum) in units(points, width) {
            if whole.execute(params![row, width, start, sum.present, sum.missing])? == 0 {
                part.execute(params![row, width, start, sum.present, sum.missing, sum.sum])?;
            }
        }
    }
    Ok(())
}

/// See [`Store::buckets`](crate::store::Store::buckets).
pub(super) fn buckets(
    db: &Connection,
    tail: &Tail,
    query: &ReadingQuery,
    width: Duration,
    page: &PageRequest,
) -> Work<Page<Bucket>> {
    let list = List::new("buckets", &(query.listed(), width));
    let width_us = micros(width).max(1);
    let most = cursor::limit(page) + 1;
    let after = list.key::<(i64, String)>(page)?;
    let (after_start, after_module) = match &after {
        Some((start, module)) => (*start, module.as_str()),
        None => (i64::MIN, ""),
    };
    let asked = query.time_us();
    let since = asked.start.max(EARLIEST).max(after_start);
    let until = asked.end.min(LATEST);
    let held = tail.look_with(db, |series| {
        let waiting = |points: &[Point]| between(points, since, until).to_vec();
        series.asked(query).map(|one| one.hold(waiting)).collect::<Vec<Held>>()
    })?;

    let mut found: Vec<(i64, ModuleId, iotpi_core::Unit, Sum)> = Vec::new();
    for series in held {
        let (module, unit) = (series.module_id.clone(), series.quantity.unit());
        // Of a stretch that was on the last page for another module, this one's part has not been shown yet.
        let from = match module.as_str() > after_module {
            true => since,
            false => since.max(after_start.saturating_add(if after.is_some() { width_us } else { 0 })),
        };
        let stretches = stretches(db, series, from..until, width_us, most)?;
        found.extend(stretches.map(|(start, sum)| (start, module.clone(), unit.clone(), sum)));
    }
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    found.truncate(most);
    let bucket = |(start, module_id, unit, sum): (i64, ModuleId, iotpi_core::Unit, Sum)| Bucket {
        module_id,
        kind: query.sensor.clone(),
        unit,
        start: Timestamp::from_micros(start),
        avg: sum.avg(),
        min: sum.min(),
        max: sum.max(),
        count: Some(sum.present),
        missing: sum.missing,
    };
    let found = found.into_iter().map(bucket).collect();
    Ok(list.page(found, page, |bucket| (bucket.start.as_micros(), bucket.module_id.to_string())))
}

/// The first `most` stretches of a series that have a record.
fn stretches(
    db: &Connection,
    series: Held,
    time: Range<i64>,
    width_us: i64,
    most: usize,
) -> Work<impl Iterator<Item = (i64, Sum)>> {
    let row = series.row;
    let mut stretches = Stretches::new(width_us, most);
    if let Some(folded) = folded(db, row)? {
        let waiting = series.waiting(folded);
        stretches.add_folded(db, row, time.clone())?;
        for point in between(&waiting, time.start, time.end) {
            stretches.add(point.taken_us, point.outcome.value());
        }
    }
    Ok(stretches.complete())
}
