//! Merges the records of several series of a sensor type, in order, from memory and chunks.
//!
//! The series are visited in the order of their next possible records, until no remaining series can
//! contribute: a page of 100 opens the chunks that may contain one of the 100, and no others. It keeps a few
//! thousand records of all series together in memory, however many it visits.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension as _, Params, params};

use super::{
    boundary::{Boundary, Name},
    chunk::decode_points,
    memtable::{AllSeries, Memtable, compacted_to},
    point::Point,
    runs::{MAX_RECORDS, Record, Run, Ticket},
};
use crate::store::{ReadingQuery, sqlite::failure::EngineResult};

/// The request of a merge: at least `want` records, if there are as many between the boundaries.
#[derive(Debug, Clone)]
pub(crate) struct MergeRequest {
    /// The series, and the order: forwards from `from`, or backwards from `until`. Its times are not used.
    pub(crate) query: ReadingQuery,
    pub(crate) from: Boundary,
    pub(crate) until: Boundary,
    pub(crate) want: usize,
}

/// The position of a record in the requested order: its microsecond, then the rank of its series. Both are
/// negated when the newest comes first, so that the smaller one always comes first.
type Key = (i64, i64);

/// Merges and returns a run: it begins at the requested boundary and is complete. A run of all series is kept
/// for the next query. Returns `None` if such a run exists by now.
///
/// # Errors
/// SQLite's; damage if a chunk cannot be decoded.
pub(crate) fn merge(
    db: &Connection,
    memtable: &Memtable,
    wanted: &MergeRequest,
) -> EngineResult<Option<Run>> {
    let (sensor, ascending) = (&wanted.query.sensor, wanted.query.ascending);
    let edge = if ascending { &wanted.from } else { &wanted.until };
    let is_kept = |series: &AllSeries| series.runs(sensor)?.beside(edge, ascending).map(|_| ());
    if wanted.query.is_unrestricted() && memtable.read(is_kept).is_some() {
        return Ok(None);
    }
    let mut begun = None;
    let merged = memtable.snapshot(db, |series| Merge::begin(series, wanted, &mut begun)).and_then(|merge| {
        let Some(mut merge) = merge else { return Ok(None) };
        merge.drop_compacted(db)?;
        merge.visit(db)?;
        Ok(Some(merge.run()))
    });
    if let Some(ticket) = begun {
        let kept = merged.as_ref().ok().and_then(Option::as_ref).map(copy);
        memtable.end_merge(sensor, ticket, kept);
    }
    let nothing = || Run::new(wanted.from.clone(), wanted.until.clone(), Vec::new());
    Ok(Some(merged?.unwrap_or_else(nothing)))
}

fn copy(run: &Run) -> Run {
    Run::new(run.from.clone(), run.until.clone(), run.records.clone())
}

/// A record that was found.
struct Found {
    key: Key,
    /// Orders the records of one key by arrival: the part of the series, and the position in it.
    part: i64,
    place: usize,
    point: Point,
    frozen: bool,
}

/// A series with chunks that are not visited yet.
struct Open {
    row: i64,
    rank: i64,
    /// The number of its visited chunks.
    visited: i64,
    next: Next,
}

/// The next chunk of a series.
enum Next {
    /// The first chunk that may have a record after the boundary.
    First,
    /// This chunk.
    Chunk(Chunk),
}

#[derive(Debug, Clone, Copy)]
struct Chunk {
    id: i64,
    first_us: i64,
    last_us: i64,
}

struct Merge {
    ascending: bool,
    want: usize,
    edges: (Boundary, Boundary),
    /// Records before this are not needed, and those at `end` or later are only added if they are at hand.
    start: Key,
    end: Key,
    names: Vec<Arc<Name>>,
    found: Vec<Found>,
    /// Records after this were left out.
    floor: Key,
    /// At this many found records, late ones are left out.
    crowded: usize,
    /// The first `want` keys, the greatest on top.
    first: BinaryHeap<Key>,
    /// Series by the earliest possible key of their next record.
    open: BinaryHeap<Reverse<(Key, usize)>>,
    series: Vec<Open>,
    /// Series with frozen records, and the end of their compaction.
    cuts: Vec<(i64, i64, u64)>,
    /// All records before this were found.
    complete: Key,
}

impl Merge {
    /// Takes the records in memory. Called under the lock of the memtable: copies a few thousand records at
    /// most.
    fn begin(all: &AllSeries, wanted: &MergeRequest, begun: &mut Option<Ticket>) -> Option<Self> {
        let runs = all.runs(&wanted.query.sensor)?;
        *begun = wanted.query.is_unrestricted().then(|| runs.begin());
        let ascending = wanted.query.ascending;
        let mut merge = Self {
            ascending,
            want: wanted.want.max(1),
            edges: (wanted.from.clone(), wanted.until.clone()),
            start: (i64::MIN, i64::MIN),
            end: (i64::MAX, i64::MAX),
            names: all.matching_after(&wanted.query, None).map(|one| Arc::clone(&one.name)).collect(),
            found: Vec::new(),
            floor: (i64::MAX, i64::MAX),
            crowded: 2 * wanted.want.max(MAX_RECORDS),
            first: BinaryHeap::new(),
            open: BinaryHeap::new(),
            series: Vec::new(),
            cuts: Vec::new(),
            complete: (i64::MAX, i64::MAX),
        };
        let (from, until) = (merge.rank(&wanted.from), merge.rank(&wanted.until));
        // Before the group at a boundary, or after the one before it.
        (merge.start, merge.end) = match ascending {
            true => ((wanted.from.us, from), (wanted.until.us, until)),
            false => ((!wanted.until.us, !until + 1), (!wanted.from.us, !from + 1)),
        };
        for (rank, one) in (0..).zip(all.matching_after(&wanted.query, None)) {
            let (frozen, cut, fresh) = one.uncompacted();
            if !frozen.is_empty() {
                merge.cuts.push((rank, one.id, cut));
            }
            merge.offer(rank, i64::MAX - 1, frozen, true);
            merge.offer(rank, i64::MAX, fresh, false);
            // The snapshot may have the frozen records in chunks already.
            let ends =
                [one.chunks_us, frozen.first().zip(frozen.last()).map(|(a, b)| (a.taken_us, b.taken_us))];
            let first = ends.into_iter().flatten().map(|(first, _)| first).min();
            let last = ends.into_iter().flatten().map(|(_, last)| last).max();
            if let (Some(first), Some(last)) = (first, last)
                && merge.key(if ascending { last } else { first }, rank) >= merge.start
            {
                let earliest = merge.key(if ascending { first } else { last }, rank).max(merge.start);
                merge.open.push(Reverse((earliest, merge.series.len())));
                merge.series.push(Open { row: one.id, rank, visited: 0, next: Next::First });
            }
        }
        Some(merge)
    }

    /// The number of series before a boundary within its microsecond.
    fn rank(&self, edge: &Boundary) -> i64 {
        let Some(origin) = &edge.origin else { return 0 };
        let before = |name: &Arc<Name>| name.origin < *origin || edge.behind && name.origin == *origin;
        i64::try_from(self.names.partition_point(before)).unwrap_or(i64::MAX)
    }

    fn key(&self, us: i64, rank: i64) -> Key {
        if self.ascending { (us, rank) } else { (!us, !rank) }
    }

    /// Takes those points of a series, oldest first, that may be among the requested records.
    fn offer(&mut self, rank: i64, part: i64, points: &[Point], frozen: bool) {
        let ascending = self.ascending;
        let key = |point: &Point| match ascending {
            true => (point.taken_us, rank),
            false => (!point.taken_us, !rank),
        };
        let (start, most) = (self.start, self.most());
        let mut chosen = match ascending {
            true => points.partition_point(|p| key(p) < start)..points.len(),
            false => 0..points.partition_point(|p| key(p) >= start),
        };
        // With this many, all later ones are superfluous.
        let last = if ascending { chosen.start.checked_add(most) } else { chosen.end.checked_sub(most) };
        if let Some(last) = last.filter(|_| chosen.len() > most).and_then(|last| points.get(last)) {
            self.floor = self.floor.min(key(last));
        }
        let floor = self.floor;
        match ascending {
            true => chosen.end = points.partition_point(|p| key(p) <= floor).max(chosen.start),
            false => chosen.start = points.partition_point(|p| key(p) > floor).min(chosen.end),
        }
        for place in chosen {
            let Some(point) = points.get(place) else { break };
            let key = key(point);
            self.count(key);
            self.found.push(Found { key, part, place, point: point.clone(), frozen });
        }
        self.leave_out();
    }

    /// The minimum number of records to keep, if there are as many.
    fn most(&self) -> usize {
        self.want.max(MAX_RECORDS)
    }

    /// Counts a found record.
    fn count(&mut self, key: Key) {
        if self.first.len() < self.want {
            self.first.push(key);
        } else if let Some(mut last) = self.first.peek_mut()
            && key < *last
        {
            *last = key;
        }
    }

    /// Drops records that are too late to be used.
    fn leave_out(&mut self) {
        if self.found.len() <= self.crowded {
            return;
        }
        let most = self.most();
        let (_, last, _) = self.found.select_nth_unstable_by_key(most - 1, |found| found.key);
        let floor = self.floor.min(last.key);
        self.floor = floor;
        // Records of one key stay together.
        self.found.retain(|found| found.key <= floor);
        self.crowded = 2 * self.found.len();
    }

    /// Drops records from memory that are also in chunks: the database may be one commit ahead.
    fn drop_compacted(&mut self, db: &Connection) -> EngineResult<()> {
        let mut ahead = HashSet::new();
        for (rank, row, cut) in &self.cuts {
            if compacted_to(db, *row)?.is_none_or(|to| to >= *cut) {
                ahead.insert(self.key(0, *rank).1);
            }
        }
        if !ahead.is_empty() {
            self.found.retain(|found| !found.frozen || !ahead.contains(&found.key.1));
            self.first.clear();
            for at in 0..self.found.len() {
                self.count(self.found[at].key);
            }
        }
        Ok(())
    }

    /// Visits chunks until the requested records are found.
    fn visit(&mut self, db: &Connection) -> EngineResult<()> {
        while let Some(Reverse((earliest, at))) = self.open.pop() {
            let enough =
                self.first.len() == self.want && self.first.peek().is_some_and(|last| *last < earliest);
            if enough || earliest > self.floor || earliest >= self.end {
                self.complete = earliest;
                break;
            }
            let next = match self.series[at].next {
                Next::First => self.first_chunk(db, self.series[at].row)?,
                Next::Chunk(chunk) => {
                    self.take(db, at, chunk)?;
                    self.chunk_after(db, self.series[at].row, chunk)?
                }
            };
            let Some(chunk) = next else { continue };
            let rank = self.series[at].rank;
            let begins = if self.ascending { chunk.first_us } else { chunk.last_us };
            self.open.push(Reverse((self.key(begins, rank).max(self.start), at)));
            self.series[at].next = Next::Chunk(chunk);
        }
        Ok(())
    }

    fn take(&mut self, db: &Connection, at: usize, chunk: Chunk) -> EngineResult<()> {
        let mut body = db.prepare_cached("SELECT body FROM chunks WHERE id = ?1")?;
        let mut rows = body.query([chunk.id])?;
        let Some(row) = rows.next()? else { return Ok(()) };
        let points = decode_points(row.get_ref(0)?.as_blob()?)?;
        let series = &mut self.series[at];
        series.visited += 1;
        // When visiting backwards, a later chunk was filled earlier.
        let part = if self.ascending { series.visited } else { -series.visited };
        let rank = series.rank;
        self.offer(rank, part, &points, false);
        Ok(())
    }

    /// The first chunk, in the requested order, that may have a record after the boundary.
    fn first_chunk(&self, db: &Connection, row: i64) -> EngineResult<Option<Chunk>> {
        if !self.ascending {
            return find(db, LAST_CHUNK, params![row, !self.start.0]);
        }
        let before = find(db, LAST_CHUNK, params![row, self.start.0])?;
        match before.filter(|chunk| chunk.last_us >= self.start.0) {
            Some(chunk) => find_first_at(db, row, chunk),
            None => find(db, CHUNK_AFTER, params![row, self.start.0, i64::MAX]),
        }
    }

    fn chunk_after(&self, db: &Connection, row: i64, chunk: Chunk) -> EngineResult<Option<Chunk>> {
        let sql = if self.ascending { CHUNK_AFTER } else { CHUNK_BEFORE };
        find(db, sql, params![row, chunk.first_us, chunk.id])
    }

    /// The found records, as far as they are complete, as a run.
    fn run(mut self) -> Run {
        let floor = self.floor;
        let cut = self.complete <= floor;
        let complete = self.complete;
        self.found.retain(|found| found.key <= floor && found.key < complete);
        self.found.sort_unstable_by_key(|found| (found.key, found.part, found.place));
        let limit = if cut { complete } else { floor };
        let unlimited = limit == (i64::MAX, i64::MAX);
        let (from, until, records);
        if self.ascending {
            from = self.edges.0.clone();
            until = match (unlimited, cut) {
                (true, _) => Boundary::LAST,
                (false, true) => self.edge(limit),
                (false, false) => self.edge((limit.0, limit.1 + 1)),
            };
            records = self.records();
        } else {
            // The groups in reverse, the records of each in order.
            self.found.sort_by_key(|found| Reverse(found.key));
            until = self.edges.1.clone();
            from = match (unlimited, cut) {
                (true, _) => Boundary::FIRST,
                (false, true) => self.edge((!limit.0, !limit.1 + 1)),
                (false, false) => self.edge((!limit.0, !limit.1)),
            };
            records = self.records();
        }
        Run::new(from, until, records)
    }

    /// The boundary before the group of this microsecond and rank.
    fn edge(&self, (us, rank): Key) -> Boundary {
        match usize::try_from(rank).ok().and_then(|rank| self.names.get(rank)) {
            _ if rank <= 0 => Boundary::at(us),
            Some(name) => Boundary::before(us, name.origin.clone()),
            None => {
                self.names.last().map_or(Boundary::at(us), |name| Boundary::behind(us, name.origin.clone()))
            }
        }
    }

    fn records(&mut self) -> Vec<Record> {
        let found = std::mem::take(&mut self.found);
        let record = |found: Found| {
            let rank = if self.ascending { found.key.1 } else { !found.key.1 };
            let name = usize::try_from(rank).ok().and_then(|rank| self.names.get(rank))?;
            Some(Record { name: Arc::clone(name), point: found.point })
        };
        found.into_iter().filter_map(record).collect()
    }
}

/// The last chunk of a series that begins at or before a time.
pub(crate) const LAST_CHUNK: &str = "SELECT id, first_us, last_us FROM chunks
     WHERE series_id = ?1 AND first_us <= ?2 ORDER BY first_us DESC, id DESC LIMIT 1";
/// The chunk of a series before another one.
pub(crate) const CHUNK_BEFORE: &str = "SELECT id, first_us, last_us FROM chunks
     WHERE series_id = ?1 AND (first_us, id) < (?2, ?3) ORDER BY first_us DESC, id DESC LIMIT 1";
/// The chunk of a series after another one.
pub(crate) const CHUNK_AFTER: &str = "SELECT id, first_us, last_us FROM chunks
     WHERE series_id = ?1 AND (first_us, id) > (?2, ?3) ORDER BY first_us, id LIMIT 1";

fn find(db: &Connection, sql: &str, params: impl Params) -> EngineResult<Option<Chunk>> {
    let chunk =
        |row: &rusqlite::Row<'_>| Ok(Chunk { id: row.get(0)?, first_us: row.get(1)?, last_us: row.get(2)? });
    Ok(db.prepare_cached(sql)?.query_row(params, chunk).optional()?)
}

/// The first of several chunks that touch in the microsecond at which this one begins.
fn find_first_at(db: &Connection, row: i64, mut chunk: Chunk) -> EngineResult<Option<Chunk>> {
    while let Some(before) = find(db, CHUNK_BEFORE, params![row, chunk.first_us, chunk.id])? {
        if before.last_us < chunk.first_us {
            break;
        }
        chunk = before;
    }
    Ok(Some(chunk))
}
