//! Records summed up over stretches of time.

use std::time::Duration;

use iotpi_core::{Bucket, Timestamp};
use rusqlite::{Connection, params};

use super::{
    columns::{micros, moment},
    failure::Work,
    readings::{Series, series_of},
};
use crate::store::{
    Page, PageRequest, ReadingQuery,
    cursor::{self, List},
};

/// See [`Store::buckets`](crate::store::Store::buckets).
///
/// A page reads little more than the records it sums up: it goes forward in windows of some stretches, from one record
/// to the next, until it is full.
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
    let series = series_of(db, query)?;
    let since = query.since.map_or(i64::MIN, Timestamp::as_micros);
    let until = query.until.map_or(i64::MAX, Timestamp::as_micros);

    let mut found: Vec<Bucket> = Vec::new();
    let mut from = after.as_ref().map_or(since, |(start, _)| since.max(*start));
    let mut stretches = most / series.len().max(1) + 1;
    while found.len() < most {
        let Some(first) = first_record(db, &series, from, until)? else { break };
        let window_us = width.saturating_mul(i64::try_from(stretches).unwrap_or(i64::MAX));
        let end = start_of(first, width).saturating_add(window_us).min(until);
        let window = found.len();
        for series in &series {
            sum_up(db, query, series, width, (first, end), &mut found)?;
        }
        found[window..].sort_by(|a, b| (a.start, &a.module_id).cmp(&(b.start, &b.module_id)));
        if let Some((start, module)) = &after {
            found.retain(|b| (b.start.as_micros(), b.module_id.as_str()) > (*start, module.as_str()));
        }
        from = end;
        // Sparse records want longer windows, or a page would be a walk from gap to gap; but a dense stretch behind
        // a sparse one must not be summed up whole.
        stretches = (stretches * 2).min(most * 8);
    }
    Ok(list.page(found, page, |bucket| (bucket.start.as_micros(), bucket.module_id.to_string())))
}

fn start_of(moment: i64, width: i64) -> i64 {
    moment.saturating_sub(moment.rem_euclid(width))
}

fn first_record(db: &Connection, series: &[Series], from: i64, until: i64) -> Work<Option<i64>> {
    let mut statement = db.prepare_cached(
        "SELECT min(taken_at_us) FROM readings WHERE series_id = ?1 AND taken_at_us >= ?2 AND taken_at_us < ?3",
    )?;
    let mut first: Option<i64> = None;
    for series in series {
        let until = first.unwrap_or(until);
        let earlier: Option<i64> = statement.query_row(params![series.id, from, until], |row| row.get(0))?;
        first = earlier.or(first);
    }
    Ok(first)
}

fn sum_up(
    db: &Connection,
    query: &ReadingQuery,
    series: &Series,
    width: i64,
    (from, until): (i64, i64),
    found: &mut Vec<Bucket>,
) -> Work<()> {
    // The remainder is made positive, so that stretches before 1970 begin at their beginning, too.
    let mut statement = db.prepare_cached(
        "SELECT taken_at_us - ((taken_at_us % ?4) + ?4) % ?4 AS start,
                avg(value), min(value), max(value), count(value), count(*) - count(value)
         FROM readings WHERE series_id = ?1 AND taken_at_us >= ?2 AND taken_at_us < ?3
         GROUP BY start",
    )?;
    let rows = statement.query_map(params![series.id, from, until, width], |row| {
        Ok(Bucket {
            module_id: series.module_id.clone(),
            kind: query.sensor.clone(),
            unit: series.unit.clone(),
            start: moment(row, 0)?,
            avg: row.get(1)?,
            min: row.get(2)?,
            max: row.get(3)?,
            count: Some(row.get(4)?),
            missing: row.get(5)?,
        })
    })?;
    for row in rows {
        found.push(row?);
    }
    Ok(())
}
