//! The memtable: the series, the newest record of each, and the records that are in the WAL but not in chunks
//! yet. A query merges these with the compacted records in the database.
//!
//! The writer thread changes it after each commit, before the writes are acknowledged. A query copies the
//! needed records *and* begins its snapshot of the database under one lock, so the two differ by at most the
//! one commit that is not applied yet. `series.compacted_to` in the snapshot decides where a record of that
//! commit is counted.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use iotpi_core::{ModuleId, Quantity, Reading, SensorType, Unit};
use rusqlite::{Connection, OptionalExtension as _};

use super::{
    boundary::{Boundary, Name, Origin},
    point::{Point, merged},
    runs::{self, Run, Runs, Ticket},
    sum_runs::SumRun,
    wal_record::WalEntry,
};
use crate::store::sqlite::failure::EngineResult;
use crate::store::{ReadingQuery, SeriesKey};

/// The series and their records that are not compacted.
#[derive(Debug, Default)]
pub(crate) struct Memtable(RwLock<AllSeries>);

/// All series.
#[derive(Debug, Default)]
pub(crate) struct AllSeries {
    by_id: HashMap<i64, Series>,
    by_key: BTreeMap<SeriesKey, i64>,
    by_sensor: HashMap<SensorType, SensorSeries>,
    records: usize,
}

/// The series of a sensor type.
#[derive(Debug, Default)]
struct SensorSeries {
    rows: BTreeMap<Origin, i64>,
    runs: Runs,
    /// A lower bound of the first record's time, once a query has looked it up.
    first_us: Option<i64>,
    /// An upper bound of the last record's time.
    last_us: Option<i64>,
}

/// One series.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) id: i64,
    pub(crate) name: Arc<Name>,
    /// The newest record, once a query looked it up or a newer one arrived.
    pub(crate) newest: Option<Point>,
    /// The times of the first and the last compacted record; the first may have expired since.
    pub(crate) chunks_us: Option<(i64, i64)>,
    /// Records that are being compacted, in order; the compaction ends before the WAL record `frozen_to`.
    frozen: Vec<Point>,
    frozen_to: u64,
    /// Later records, in order.
    active: Vec<Point>,
}

/// A query's copy of a series.
#[derive(Debug, Clone)]
pub(crate) struct SeriesSnapshot {
    pub(crate) id: i64,
    pub(crate) name: Arc<Name>,
    /// The database may contain them already: see [`SeriesSnapshot::uncompacted`].
    pub(crate) frozen: Vec<Point>,
    pub(crate) active: Vec<Point>,
    frozen_to: u64,
}

impl Series {
    pub(crate) fn unit(&self) -> Unit {
        self.name.quantity.unit()
    }

    /// Records that are being compacted, in order, and where the compaction ends; then later records, in order.
    pub(crate) fn uncompacted(&self) -> (&[Point], u64, &[Point]) {
        (&self.frozen, self.frozen_to, &self.active)
    }

    /// A lower bound of the time of its first record in memory or in a chunk.
    fn first_us(&self) -> Option<i64> {
        let waiting = self.frozen.first().into_iter().chain(self.active.first()).map(|point| point.taken_us);
        waiting.chain(self.chunks_us.map(|(first, _)| first)).min()
    }

    /// The time of its last record.
    pub(crate) fn last_us(&self) -> Option<i64> {
        let waiting = self.frozen.last().into_iter().chain(self.active.last()).map(|point| point.taken_us);
        waiting.chain(self.chunks_us.map(|(_, last)| last)).max()
    }

    /// A copy of the series with those of its records in memory that `which` selects.
    pub(crate) fn snapshot(&self, which: impl Fn(&[Point]) -> Vec<Point>) -> SeriesSnapshot {
        SeriesSnapshot {
            id: self.id,
            name: Arc::clone(&self.name),
            frozen: which(&self.frozen),
            active: which(&self.active),
            frozen_to: self.frozen_to,
        }
    }

    fn push(&mut self, point: &Point) {
        if self.newest.as_ref().is_some_and(|newest| newest.taken_us <= point.taken_us)
            || self.newest.is_none() && self.chunks_us.is_none_or(|(_, last)| last <= point.taken_us)
        {
            self.newest = Some(point.clone());
        }
        if self.active.len() == self.active.capacity() {
            // By a quarter: doubling could take twice the needed memory.
            self.active.reserve_exact(self.active.len() / 4 + 4);
        }
        match self.active.last() {
            Some(last) if last.taken_us > point.taken_us => {
                let at = self.active.partition_point(|known| known.taken_us <= point.taken_us);
                self.active.insert(at, point.clone());
            }
            _ => self.active.push(point.clone()),
        }
    }

    /// The newest `count` records in memory, oldest first, if no compacted record can be among the newest.
    pub(crate) fn newest_uncompacted(&self, count: usize) -> Option<Vec<Point>> {
        if !self.frozen.is_empty() {
            return None;
        }
        let newest = &self.active[self.active.len().saturating_sub(count)..];
        let enough = match (newest.first(), self.chunks_us) {
            (_, None) => true,
            (Some(oldest), Some((_, last_us))) => newest.len() == count && oldest.taken_us > last_us,
            (None, Some(_)) => count == 0,
        };
        enough.then(|| newest.to_vec())
    }
}

impl SeriesSnapshot {
    /// The records that are only in memory, in order, given the WAL id up to which the snapshot has compacted
    /// the series.
    pub(crate) fn uncompacted(self, chunks_us: u64) -> Vec<Point> {
        if chunks_us >= self.frozen_to { self.active } else { merged(self.frozen, self.active) }
    }
}

impl Memtable {
    fn lock_read(&self) -> RwLockReadGuard<'_, AllSeries> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_write(&self) -> RwLockWriteGuard<'_, AllSeries> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the memtable.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&AllSeries) -> T) -> T {
        look(&self.lock_read())
    }

    /// Reads the memtable and begins the snapshot of the connection, which does not change until its transaction ends.
    pub(crate) fn snapshot<T>(&self, db: &Connection, look: impl FnOnce(&AllSeries) -> T) -> EngineResult<T> {
        let series = self.lock_read();
        db.prepare_cached("SELECT compacted_to FROM wal_state")?.query_row([], |row| row.get::<_, i64>(0))?;
        Ok(look(&series))
    }

    /// Replaces the content with that of another memtable.
    pub(crate) fn replace_with(&self, other: &Self) {
        *self.lock_write() = std::mem::take(&mut *other.lock_write());
    }

    /// Adds a series. `chunks_us` are the times of its first and its last compacted record.
    pub(crate) fn add_series(
        &self,
        row: i64,
        key: SeriesKey,
        quantity: Quantity,
        chunks_us: Option<(i64, i64)>,
    ) {
        let mut series = self.lock_write();
        series.by_key.insert(key.clone(), row);
        let SeriesKey { module_id, sensor, channel } = key;
        let origin = Origin { module_id, channel };
        let of_sensor = series.by_sensor.entry(sensor).or_default();
        of_sensor.rows.insert(origin.clone(), row);
        of_sensor.last_us = of_sensor.last_us.max(chunks_us.map(|(_, last)| last));
        let (frozen, active) = (Vec::new(), Vec::new());
        let name = Arc::new(Name { origin, quantity });
        let one = Series { id: row, name, newest: None, chunks_us, frozen, frozen_to: 0, active };
        series.by_id.insert(row, one);
    }

    /// Inserts entries of a committed WAL record.
    pub(crate) fn insert(&self, entries: &[WalEntry]) {
        let mut series = self.lock_write();
        let AllSeries { by_id, by_sensor, records, .. } = &mut *series;
        for entry in entries {
            if let Some(one) = by_id.get_mut(&entry.series) {
                one.push(&entry.point);
                *records += 1;
                if let Some(of_sensor) = by_sensor.get_mut(one.name.quantity.name_str()) {
                    of_sensor.runs.add(&one.name, &entry.point);
                    of_sensor.first_us = of_sensor.first_us.map(|first| first.min(entry.point.taken_us));
                    of_sensor.last_us = of_sensor.last_us.max(Some(entry.point.taken_us));
                }
            }
        }
    }

    /// Removes the series of a module.
    pub(crate) fn remove_module(&self, module: &ModuleId) {
        let mut series = self.lock_write();
        let gone: Vec<_> = series.of_module(module).map(|(key, row)| (key.clone(), *row)).collect();
        for (key, row) in gone {
            series.by_key.remove(&key);
            let SeriesKey { module_id, sensor, channel } = key;
            if let Some(of_sensor) = series.by_sensor.get_mut(&sensor) {
                of_sensor.rows.remove(&Origin { module_id, channel });
                of_sensor.runs.remove(module);
                if of_sensor.rows.is_empty() {
                    series.by_sensor.remove(&sensor);
                }
            }
            if let Some(one) = series.by_id.remove(&row) {
                series.records -= one.active.len() + one.frozen.len();
            }
        }
    }

    /// Freezes all records for a compaction of the WAL records before `frozen_to`. Returns the ids of their series.
    pub(crate) fn freeze(&self, frozen_to: u64) -> Vec<i64> {
        let mut rows = Vec::new();
        for one in self.lock_write().by_id.values_mut().filter(|one| !one.active.is_empty()) {
            one.frozen = std::mem::take(&mut one.active);
            one.frozen_to = frozen_to;
            rows.push(one.id);
        }
        rows.sort_unstable();
        rows
    }

    /// The frozen records of a series.
    pub(crate) fn frozen(&self, row: i64) -> Vec<Point> {
        self.lock_read().by_id.get(&row).map(|one| one.frozen.clone()).unwrap_or_default()
    }

    /// The frozen records of a series are compacted.
    pub(crate) fn mark_compacted(&self, row: i64) {
        let mut series = self.lock_write();
        if let Some(one) = series.by_id.get_mut(&row) {
            let chunks_us = std::mem::take(&mut one.frozen);
            if let (Some(first), Some(last)) = (chunks_us.first(), chunks_us.last()) {
                let (from, until) = one.chunks_us.unwrap_or((first.taken_us, last.taken_us));
                one.chunks_us = Some((from.min(first.taken_us), until.max(last.taken_us)));
            }
            series.records -= chunks_us.len();
        }
    }

    /// Records of a series from before a time may have been removed.
    pub(crate) fn expire(&self, row: i64, before_us: i64) {
        let mut series = self.lock_write();
        let AllSeries { by_id, by_sensor, .. } = &mut *series;
        if let Some(of_sensor) =
            by_id.get(&row).and_then(|one| by_sensor.get_mut(one.name.quantity.name_str()))
        {
            of_sensor.runs.forget_before(before_us);
        }
    }

    /// Sets a lower bound of the first record's time of a sensor type, given the one of the records on disk.
    pub(crate) fn set_first(&self, sensor: &SensorType, on_disk: Option<i64>) -> Option<i64> {
        let mut series = self.lock_write();
        // Records may have arrived or been compacted since the lookup.
        let first = series.of_sensor(sensor).filter_map(Series::first_us).chain(on_disk).min();
        if let Some(of_sensor) = series.by_sensor.get_mut(sensor) {
            of_sensor.first_us = first;
        }
        first
    }

    /// Ends the merge with this ticket and keeps its run, if it has one.
    pub(crate) fn end_merge(&self, sensor: &SensorType, ticket: Ticket, run: Option<Run>) {
        let mut series = self.lock_write();
        if let Some(of_sensor) = series.by_sensor.get_mut(sensor) {
            of_sensor.runs.end(ticket, run);
            runs::shrink(series.by_sensor.values_mut().map(|of_sensor| &mut of_sensor.runs));
        }
    }

    /// Ends the summation with this ticket and keeps its run of sums, if it has one.
    pub(crate) fn end_sums(&self, sensor: &SensorType, ticket: Ticket, run: Option<SumRun>) {
        let mut series = self.lock_write();
        if let Some(of_sensor) = series.by_sensor.get_mut(sensor) {
            of_sensor.runs.end_sums(ticket, run);
            runs::shrink(series.by_sensor.values_mut().map(|of_sensor| &mut of_sensor.runs));
        }
    }

    /// Sets the newest record of a series, found in the database; ignored if a newer one arrived meanwhile.
    pub(crate) fn set_newest(&self, row: i64, found: &Point) {
        if let Some(one) = self.lock_write().by_id.get_mut(&row)
            && one.newest.as_ref().is_none_or(|newest| newest.taken_us < found.taken_us)
        {
            one.newest = Some(found.clone());
        }
    }
}

impl AllSeries {
    /// The number of series.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The number of records that are not compacted.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// The series with this key.
    pub(crate) fn get(&self, key: &SeriesKey) -> Option<&Series> {
        self.by_id.get(self.by_key.get(key)?)
    }

    /// The series of a reading.
    pub(crate) fn of_reading(&self, reading: &Reading) -> Option<&Series> {
        let of_sensor = self.by_sensor.get(reading.quantity.name_str())?;
        self.by_id.get(of_sensor.rows.get(&Origin::of(reading))?)
    }

    /// The series that a restricted query matches, if it is a single one.
    pub(crate) fn single<'a>(&'a self, query: &'a ReadingQuery) -> Option<&'a Series> {
        let mut matching = self.matching_after(query, None);
        let first = matching.next().filter(|_| !query.is_unrestricted())?;
        matching.next().is_none().then_some(first)
    }

    /// The series of a sensor type, by origin.
    pub(crate) fn of_sensor<'a>(&'a self, sensor: &SensorType) -> impl Iterator<Item = &'a Series> {
        let rows = self.by_sensor.get(sensor).into_iter().flat_map(|of_sensor| of_sensor.rows.values());
        rows.filter_map(|row| self.by_id.get(row))
    }

    /// The runs of a sensor type; `None` if it has no series.
    pub(crate) fn runs(&self, sensor: &SensorType) -> Option<&Runs> {
        self.by_sensor.get(sensor).map(|of_sensor| &of_sensor.runs)
    }

    /// Whether no record of a sensor type was taken after the boundary, nor in its microsecond.
    pub(crate) fn is_last(&self, sensor: &SensorType, edge: &Boundary) -> bool {
        self.by_sensor.get(sensor).and_then(|of_sensor| of_sensor.last_us).is_none_or(|last| last < edge.us)
    }

    /// The keys of all series, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &SeriesKey> {
        self.by_key.keys()
    }

    /// All series, or those of one module, in the order of their keys, after a key.
    pub(crate) fn after<'a>(
        &'a self,
        after: Option<&SeriesKey>,
        module: Option<&'a ModuleId>,
    ) -> impl Iterator<Item = &'a Series> {
        let first = match (after, module) {
            (Some(after), Some(module)) if after.module_id < *module => Bound::Included(first_of(module)),
            (Some(after), _) => Bound::Excluded(after.clone()),
            (None, Some(module)) => Bound::Included(first_of(module)),
            (None, None) => Bound::Unbounded,
        };
        self.by_key
            .range((first, Bound::Unbounded))
            .take_while(move |(key, _)| module.is_none_or(|module| key.module_id == *module))
            .filter_map(|(_, row)| self.by_id.get(row))
    }

    fn of_module<'a>(&'a self, module: &'a ModuleId) -> impl Iterator<Item = (&'a SeriesKey, &'a i64)> {
        self.by_key
            .range((Bound::Included(first_of(module)), Bound::Unbounded))
            .take_while(move |(key, _)| key.module_id == *module)
    }

    /// A lower bound of the first record's time of a sensor type; `None` if no query has looked it up.
    pub(crate) fn first_of(&self, sensor: &SensorType) -> Option<Option<i64>> {
        match self.by_sensor.get(sensor) {
            Some(of_sensor) => of_sensor.first_us.map(Some),
            None => Some(None),
        }
    }

    /// The number of series that match a query.
    pub(crate) fn count(&self, query: &ReadingQuery) -> usize {
        match self.by_sensor.get(&query.sensor) {
            Some(of_sensor) if query.is_unrestricted() => of_sensor.rows.len(),
            _ => self.matching_after(query, None).count(),
        }
    }

    /// The series that match a query, by origin, after an origin.
    pub(crate) fn matching_after<'a>(
        &'a self,
        query: &'a ReadingQuery,
        after: Option<&Origin>,
    ) -> impl Iterator<Item = &'a Series> {
        let module = query.module_id.as_ref();
        let first = module.map(|module| Origin { module_id: module.clone(), channel: None });
        let from = match (after, first) {
            (Some(after), first) if first.as_ref().is_none_or(|first| first <= after) => {
                Bound::Excluded(after.clone())
            }
            (_, Some(first)) => Bound::Included(first),
            (_, None) => Bound::Unbounded,
        };
        let of_sensor = self.by_sensor.get(&query.sensor).into_iter();
        of_sensor
            .flat_map(move |of_sensor| of_sensor.rows.range((from.clone(), Bound::Unbounded)))
            .take_while(move |(origin, _)| module.is_none_or(|module| origin.module_id == *module))
            .filter(|(origin, _)| {
                query.channel.as_ref().is_none_or(|only| only.matches(origin.channel.as_ref()))
            })
            .filter_map(|(_, row)| self.by_id.get(row))
    }
}

/// The first WAL record that is not compacted for a series; `None` when the series is gone.
pub(crate) fn compacted_to(db: &Connection, row: i64) -> EngineResult<Option<u64>> {
    let sql = "SELECT compacted_to FROM series WHERE id = ?1";
    Ok(db.prepare_cached(sql)?.query_row([row], |row| row.get(0)).optional()?)
}

/// The smallest key of the module.
fn first_of(module: &ModuleId) -> SeriesKey {
    let sensor = SensorType::new("0").expect("an id");
    SeriesKey { module_id: module.clone(), sensor, channel: None }
}
