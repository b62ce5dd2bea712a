//! Queries of records: pages, the newest of each series, the recent ones of one. Compacted records come from
//! chunks, the others from memory.

use std::{ops::Range, sync::Arc};

use iotpi_core::{ModuleId, Reading, Timestamp};
use rusqlite::{Connection, params};

use super::{
    boundary::Origin,
    chunk::decode_points,
    memtable::{AllSeries, Memtable, SeriesSnapshot, compacted_to},
    point::{Point, between, merged},
};
use crate::store::sqlite::failure::EngineResult;
use crate::store::{
    Page, PageRequest, ReadingQuery, SeriesKey,
    cursor::{self, List},
    end_us,
};

/// The order of records: time, origin, and for those of one origin and microsecond the number that arrived
/// before.
pub(crate) type RecordKey = (i64, Origin, u32);

/// See [`ReadReadings::readings`](crate::store::ReadReadings::readings), for a query that matches a
/// single series; `None` if it does not. [`super::page`] has the records of several series.
pub(crate) fn readings(
    db: &Connection,
    memtable: &Memtable,
    query: &ReadingQuery,
    page: &PageRequest,
) -> EngineResult<Option<Page<Reading>>> {
    let list = List::new("readings", &query.listed());
    let most = cursor::limit(page) + 1;
    let after = list.key::<RecordKey>(page)?;
    let mut time = query.time_us();
    // The microsecond in which the last page ended may have more records.
    match &after {
        Some((taken_us, ..)) if query.ascending => time.start = time.start.max(*taken_us),
        Some((taken_us, ..)) => time.end = time.end.min(taken_us.saturating_add(1)),
        None => {}
    }
    let part =
        Part { most, ascending: query.ascending, beside: after.as_ref().map(|(taken_us, ..)| *taken_us) };
    let held = memtable.snapshot(db, |series| {
        let waiting = |points: &[Point]| part.of(between(points, time.start, time.end)).to_vec();
        series.single(query).map(|one| one.snapshot(waiting))
    })?;
    let Some(series) = held else { return Ok(None) };
    let name = Arc::clone(&series.name);
    let mut found: Vec<(u32, Point)> = Vec::new();
    for point in points(db, series, time, part)? {
        let beside = found.last().filter(|(_, previous)| previous.taken_us == point.taken_us);
        found.push((beside.map_or(0, |(ordinal, _)| ordinal + 1), point));
    }
    if let Some((taken_us, _, ordinal)) = after {
        let after = (taken_us, ordinal);
        found.retain(|(ordinal, point)| {
            let place = (point.taken_us, *ordinal);
            if query.ascending { place > after } else { place < after }
        });
    }
    if !query.ascending {
        found.reverse();
    }
    found.truncate(most);
    let page = list.page(found, page, |(ordinal, point)| (point.taken_us, name.origin.clone(), *ordinal));
    Ok(Some(page.map(|(_, point)| point.reading(&name))))
}

/// A part of a series' records: the first or the last ones, with all records of each included microsecond.
#[derive(Debug, Clone, Copy)]
struct Part {
    most: usize,
    /// The first ones; otherwise the last.
    ascending: bool,
    /// Records of this microsecond, where the last page ended, are added to the number.
    beside: Option<i64>,
}

impl Part {
    /// The newest ones.
    fn newest(most: usize) -> Self {
        Self { most: most.max(1), ascending: false, beside: None }
    }

    /// The number of points that count.
    fn counted(&self, points: &[Point]) -> usize {
        let beside = self.beside.map_or(0, |at| between(points, at, at.saturating_add(1)).len());
        points.len() - beside
    }

    /// This part of ordered points.
    fn of<'a>(&self, points: &'a [Point]) -> &'a [Point] {
        let over = self.counted(points).saturating_sub(self.most);
        if over == 0 {
            return points;
        }
        let kept = points.len() - over;
        if self.ascending {
            let edge = points[kept - 1].taken_us;
            &points[..points.partition_point(|point| point.taken_us <= edge)]
        } else {
            let edge = points[over].taken_us;
            &points[points.partition_point(|point| point.taken_us < edge)..]
        }
    }
}

/// A part of one series' records in a time range, oldest first.
fn points(db: &Connection, series: SeriesSnapshot, time: Range<i64>, part: Part) -> EngineResult<Vec<Point>> {
    let row = series.id;
    let Some(compacted_to) = compacted_to(db, row)? else { return Ok(Vec::new()) };
    let waiting = series.uncompacted(compacted_to);
    let waiting = between(&waiting, time.start, time.end);
    let mut chunks: Vec<Vec<Point>> = Vec::new();
    let mut count = 0;
    stored(db, row, time.clone(), part.ascending, |points| {
        let edge = chunks.last().and_then(|chunk| if part.ascending { chunk.last() } else { chunk.first() });
        let next = if part.ascending { points.first() } else { points.last() };
        let goes_on = edge.map(|point| point.taken_us) == next.map(|point| point.taken_us);
        if count >= part.most && !goes_on {
            return false;
        }
        count += part.counted(points);
        chunks.push(points.to_vec());
        true
    })?;
    if !part.ascending {
        chunks.reverse();
    }
    let all = merged(chunks.concat(), waiting.iter().cloned());
    Ok(part.of(&all).to_vec())
}

/// The chunks of a series from the one that may contain `?2` to the one that begins before `?3`.
pub(crate) const CHUNKS: &str = "SELECT last_us, body, first_us FROM chunks
     WHERE series_id = ?1 AND first_us < ?3
       AND first_us >= coalesce((SELECT max(first_us) FROM chunks WHERE series_id = ?1 AND first_us < ?2), ?2)
     ORDER BY first_us, id";

/// The same, backwards; chunks that end before the range come last and are not read.
pub(crate) const CHUNKS_BACKWARDS: &str = "SELECT last_us, body, first_us FROM chunks
     WHERE series_id = ?1 AND first_us < ?2 ORDER BY first_us DESC, id DESC";

/// Reads the compacted records of a series in a time range, chunk by chunk in the requested order; within a
/// chunk the oldest is first. Ends when `go_on` returns false.
pub(crate) fn stored(
    db: &Connection,
    row: i64,
    time: Range<i64>,
    ascending: bool,
    mut go_on: impl FnMut(&[Point]) -> bool,
) -> EngineResult<()> {
    let mut statement = db.prepare_cached(if ascending { CHUNKS } else { CHUNKS_BACKWARDS })?;
    let mut rows = if ascending {
        statement.query(params![row, time.start, time.end])?
    } else {
        statement.query(params![row, time.end])?
    };
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(0)? < time.start {
            if ascending {
                continue;
            }
            return Ok(());
        }
        let points = decode_points(row.get_ref(1)?.as_blob()?)?;
        let points = between(&points, time.start, time.end);
        if !points.is_empty() && !go_on(points) {
            return Ok(());
        }
    }
    Ok(())
}

/// See [`ReadReadings::newest`](crate::store::ReadReadings::newest). Answers from memory; `None` if the
/// newest record of a series was not looked up since the start.
pub(crate) fn newest_known(
    series: &AllSeries,
    module: Option<&ModuleId>,
    latest: Option<Timestamp>,
    page: &PageRequest,
) -> EngineResult<Option<Page<Reading>>> {
    let list = List::new("newest", &module);
    let after = list.key::<SeriesKey>(page)?;
    let mut found = Vec::new();
    for one in series.after(after.as_ref(), module).take(cursor::limit(page) + 1) {
        let known = one.newest.as_ref().filter(|newest| newest.taken_us < end_us(latest));
        let Some(newest) = known else { return Ok(None) };
        found.push(newest.clone().reading(&one.name));
    }
    Ok(Some(list.page(found, page, SeriesKey::of)))
}

/// Like [`newest_known`]; looks up the newest records that are not known, and remembers them.
pub(crate) fn newest(
    db: &Connection,
    memtable: &Memtable,
    module: Option<&ModuleId>,
    latest: Option<Timestamp>,
    page: &PageRequest,
) -> EngineResult<Page<Reading>> {
    let end = end_us(latest);
    let list = List::new("newest", &module);
    let after = list.key::<SeriesKey>(page)?;
    let most = cursor::limit(page) + 1;
    let held = memtable.snapshot(db, |series| {
        let one = |one: &super::memtable::Series| {
            let known = one.newest.clone().filter(|newest| newest.taken_us < end);
            let waiting = |points: &[Point]| Part::newest(1).of(between(points, i64::MIN, end)).to_vec();
            // An earlier record must not be remembered as the newest if there is one later than requested.
            let is_last = one.last_us().is_none_or(|last_us| last_us < end);
            (known, is_last, one.snapshot(waiting))
        };
        series.after(after.as_ref(), module).take(most).map(one).collect::<Vec<_>>()
    })?;
    let mut found = Vec::with_capacity(held.len());
    for (known, is_last, held) in held {
        let (row, name) = (held.id, Arc::clone(&held.name));
        let newest = match known {
            Some(newest) => Some(newest),
            None => points(db, held, i64::MIN..end, Part::newest(1))?.pop(),
        };
        if let Some(newest) = newest {
            if is_last {
                memtable.set_newest(row, &newest);
            }
            found.push(newest.reading(&name));
        }
    }
    Ok(list.page(found, page, SeriesKey::of))
}

/// See [`ReadReadings::recent`](crate::store::ReadReadings::recent). Answers from memory, if all of the
/// newest are there.
pub(crate) fn recent_known(
    series: &AllSeries,
    key: &SeriesKey,
    count: u32,
    latest: Option<Timestamp>,
) -> Option<Vec<Reading>> {
    let Some(one) = series.get(key) else { return Some(Vec::new()) };
    let newest = one.newest_uncompacted(count as usize)?;
    if newest.last().is_some_and(|last| last.taken_us >= end_us(latest)) {
        return None;
    }
    Some(newest.into_iter().map(|point| point.reading(&one.name)).collect())
}

/// Like [`recent_known`], from memory and chunks.
pub(crate) fn recent(
    db: &Connection,
    memtable: &Memtable,
    key: &SeriesKey,
    count: u32,
    latest: Option<Timestamp>,
) -> EngineResult<Vec<Reading>> {
    let (most, end) = (count as usize, end_us(latest));
    let held = memtable.snapshot(db, |series| {
        Some(
            series
                .get(key)?
                .snapshot(|points| Part::newest(most).of(between(points, i64::MIN, end)).to_vec()),
        )
    })?;
    let Some(held) = held else { return Ok(Vec::new()) };
    let name = Arc::clone(&held.name);
    let points = points(db, held, i64::MIN..end, Part::newest(most))?;
    let newest = points.into_iter().rev().take(most).collect::<Vec<_>>().into_iter().rev();
    Ok(newest.map(|point| point.reading(&name)).collect())
}

/// The newest page of a single series, from memory, if it contains the whole page.
pub(crate) fn first_page_known(
    series: &AllSeries,
    query: &ReadingQuery,
    page: &PageRequest,
) -> Option<Page<Reading>> {
    if query.ascending || query.since.is_some() || query.until.is_some() || page.cursor.is_some() {
        return None;
    }
    let one = series.single(query)?;
    let list = List::new("readings", &query.listed());
    // One more than the page, and another one that shows that the microsecond of the oldest is complete.
    let most = cursor::limit(page) + 1;
    let mut newest = one.newest_uncompacted(most + 1)?;
    if newest.last().is_some_and(|last| last.taken_us >= end_us(query.not_after)) {
        return None;
    }
    if newest.len() > most {
        newest.remove(0);
    }
    if newest.windows(2).any(|two| two[0].taken_us == two[1].taken_us) {
        return None;
    }
    newest.reverse();
    let page = list.page(newest, page, |point| (point.taken_us, &one.name.origin, 0_u32));
    Some(page.map(|point| point.reading(&one.name)))
}
