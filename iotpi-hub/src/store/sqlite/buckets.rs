//! Records summed up over stretches of time.

use std::time::Duration;

use iotpi_core::{Bucket, Timestamp};
use rusqlite::{Connection, params};

use super::{
    columns::micros,
    failure::Work,
    readings::{Series, series_of},
};
use crate::store::{
    Page, PageRequest, ReadingQuery,
    cursor::{self, List},
};

/// See [`Store::buckets`](crate::store::Store::buckets).
///
/// A page reads the records it sums up and little more: it goes from stretch to stretch, and for each series knows where
/// its next record is. One statement over everything would sort every record there is, for each page anew.
pub(super) fn buckets(
    db: &Connection,
    query: &ReadingQuery,
    width: Duration,
    page: &PageRequest,
) -> Work<Page<Bucket>> {
    let list = List::new("buckets", &(query, width));
    let width = micros(width).max(1);
    let most = cursor::limit(page) + 1;
    let after = list.key::<(i64, String)>(page)?;
    let is_behind = |bucket: &Bucket| {
        let place = (bucket.start.as_micros(), bucket.module_id.as_str());
        after.as_ref().is_none_or(|(start, module)| place > (*start, module.as_str()))
    };
    let since = query.since.map_or(i64::MIN, Timestamp::as_micros);
    let since = after.as_ref().map_or(since, |(start, _)| since.max(*start));
    let until = query.until.map_or(i64::MAX, Timestamp::as_micros);

    let mut next_record = db.prepare_cached(NEXT_RECORD)?;
    let mut next_record = |series: &Series, from: i64| -> rusqlite::Result<Option<i64>> {
        next_record.query_row(params![series.id, from, until], |row| row.get(0))
    };
    let mut sum = db.prepare_cached(SUM)?;
    // The series that have more records, each with the moment of its next one.
    let mut ahead = Vec::new();
    for series in series_of(db, query)? {
        if let Some(next) = next_record(&series, since)? {
            ahead.push((next, series));
        }
    }
    let mut found = Vec::new();
    while let (true, Some(start)) =
        (found.len() < most, ahead.iter().map(|(next, _)| start_of(*next, width)).min())
    {
        let end = start.saturating_add(width).min(until);
        let mut still_ahead = Vec::with_capacity(ahead.len());
        for (next, series) in ahead {
            if next >= end {
                still_ahead.push((next, series));
                continue;
            }
            let bucket = sum.query_row(params![series.id, next, end], |row| {
                Ok(Bucket {
                    module_id: series.module_id.clone(),
                    kind: query.sensor.clone(),
                    unit: series.unit.clone(),
                    start: Timestamp::from_micros(start),
                    avg: row.get(0)?,
                    min: row.get(1)?,
                    max: row.get(2)?,
                    count: Some(row.get(3)?),
                    missing: row.get(4)?,
                })
            })?;
            found.extend(Some(bucket).filter(is_behind));
            if let Some(next) = next_record(&series, end)? {
                still_ahead.push((next, series));
            }
        }
        ahead = still_ahead;
    }
    Ok(list.page(found, page, |bucket| (bucket.start.as_micros(), bucket.module_id.to_string())))
}

/// The moment of a series' first record in a stretch of time.
pub(super) const NEXT_RECORD: &str =
    "SELECT min(taken_at_us) FROM readings WHERE series_id = ?1 AND taken_at_us >= ?2 AND taken_at_us < ?3";

/// The records of one series in a stretch of time, summed up.
pub(super) const SUM: &str =
    "SELECT avg(value), min(value), max(value), count(value), count(*) - count(value) FROM readings
     WHERE series_id = ?1 AND taken_at_us >= ?2 AND taken_at_us < ?3";

/// The first moment of the stretch a moment is in, UTC-aligned also before 1970.
fn start_of(moment: i64, width: i64) -> i64 {
    moment.saturating_sub(moment.rem_euclid(width))
}
