//! Runs: merged, ordered records of a sensor type over all its modules in a time range, kept in memory.
//!
//! On disk the records are stored by series, so a page over all modules is merged from a chunk of each. A run
//! is the result of such a merge: every record of the type between two boundaries. The newest page, the
//! oldest, and the last requested ones are answered from runs alone, in a time that does not depend on the
//! number of series.
//!
//! A run is complete: the writer adds each new record between its boundaries, and removals of records also
//! change the runs. Runs of sums ([`super::sum_runs`]) are kept with them. All runs take up to [`MAX_BYTES`];
//! the least recently used one is dropped first.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use iotpi_core::{ModuleId, Reading};

use super::{
    boundary::{Boundary, Name},
    point::Point,
    sum_runs::{SumRun, Sums},
};

/// The approximate maximum size of all runs together. In tests it is so small that runs are often left out.
const MAX_BYTES: usize = if cfg!(test) { 16 << 10 } else { 4 << 20 };
/// The maximum number of records that a merge adds to a run besides the requested ones, because they were at
/// hand.
pub(crate) const MAX_RECORDS: usize = if cfg!(test) { 16 } else { 4096 };
/// The size of a record without its reason.
const RECORD_BYTES: usize = size_of::<Record>();
/// The size of a run without its records.
const RUN_BYTES: usize = 512;
/// The maximum number of records that may arrive during a merge; with more, its run is not kept.
const MAX_ARRIVALS: usize = 8192;

/// A record with its series.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) name: Arc<Name>,
    pub(crate) point: Point,
}

impl Record {
    pub(crate) fn reading(self) -> Reading {
        self.point.reading(&self.name)
    }

    fn bytes(&self) -> usize {
        RECORD_BYTES + self.point.outcome.reason().map_or(0, str::len)
    }

    /// Whether both are of the same origin and microsecond.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.point.taken_us == other.point.taken_us && self.name.origin == other.name.origin
    }
}

/// All records of a sensor type between two boundaries, in order.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) from: Boundary,
    pub(crate) until: Boundary,
    pub(crate) records: Vec<Record>,
    bytes: usize,
    used: AtomicU64,
}

impl Run {
    pub(crate) fn new(from: Boundary, until: Boundary, records: Vec<Record>) -> Self {
        let bytes = RUN_BYTES + records.iter().map(Record::bytes).sum::<usize>();
        Self { from, until, records, bytes, used: AtomicU64::new(0) }
    }

    /// The number of records before a boundary.
    pub(crate) fn before(&self, edge: &Boundary) -> usize {
        self.records.partition_point(|record| !edge.is_before(record.point.taken_us, &record.name.origin))
    }

    /// Adds a record that arrived later than the existing ones.
    fn add(&mut self, record: Record) {
        let edge = Boundary::behind(record.point.taken_us, record.name.origin.clone());
        if !is_before_any_of(&edge, &self.records) {
            self.bytes += record.bytes();
            self.records.push(record);
            return;
        }
        let at = self.before(&edge);
        self.bytes += record.bytes();
        self.records.insert(at, record);
    }

    /// Drops the oldest records, so that about `count` remain.
    fn keep_newest(&mut self, count: usize) {
        let mut first = self.records.len().saturating_sub(count);
        // The records of one origin and microsecond stay together.
        while first > 0
            && self.records.get(first).is_some_and(|next| next.is_beside(&self.records[first - 1]))
        {
            first -= 1;
        }
        if let Some(oldest) = self.records.get(first).filter(|_| first > 0) {
            self.from = Boundary::before(oldest.point.taken_us, oldest.name.origin.clone());
            self.bytes -= self.records.drain(..first).map(|record| record.bytes()).sum::<usize>();
        }
    }

    /// Narrows the run to the range between two boundaries.
    fn clip(&mut self, from: &Boundary, until: &Boundary) {
        if *until < self.until {
            let keep = self.before(until);
            self.records.truncate(keep);
            self.until = until.clone();
        }
        if *from > self.from {
            self.records.drain(..self.before(from));
            self.from = from.clone();
        }
        self.bytes = RUN_BYTES + self.records.iter().map(Record::bytes).sum::<usize>();
    }
}

/// Whether one of these ordered records is after the boundary.
fn is_before_any_of(boundary: &Boundary, records: &[Record]) -> bool {
    records.last().is_some_and(|last| boundary.is_before(last.point.taken_us, &last.name.origin))
}

/// A number that is never returned again.
fn draw() -> u64 {
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    DRAWN.fetch_add(1, Relaxed)
}

/// The runs of one sensor type, in order; they do not overlap.
#[derive(Debug)]
pub(crate) struct Runs {
    runs: Vec<Run>,
    bytes: usize,
    sums: Sums,
    /// Distinguishes these runs from those of a type that was removed and created again.
    id: u64,
    /// Changed whenever records are removed: a merge that began before is not kept.
    epoch: u64,
    merging: Mutex<Merging>,
}

/// The merges in progress.
#[derive(Debug, Default)]
struct Merging {
    count: usize,
    /// The records that arrived since the first of them began.
    arrived: Vec<Record>,
}

/// A merge in progress: the point from which on arriving records must be added to its run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    id: u64,
    epoch: u64,
    arrived: usize,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            runs: Vec::new(),
            bytes: 0,
            sums: Sums::default(),
            id: draw(),
            epoch: draw(),
            merging: Mutex::default(),
        }
    }
}

impl Runs {
    /// Adds a record that arrived.
    pub(crate) fn add(&mut self, name: &Arc<Name>, point: &Point) {
        let merging = self.merging.get_mut().unwrap_or_else(PoisonError::into_inner);
        if merging.count > 0 {
            merging.arrived.push(Record { name: Arc::clone(name), point: point.clone() });
            if merging.arrived.len() > MAX_ARRIVALS {
                merging.arrived = Vec::new();
                self.epoch = draw();
            }
        }
        self.sums.add(name, point);
        let behind = self.runs.partition_point(|run| run.from.is_before(point.taken_us, &name.origin));
        let Some(run) = behind.checked_sub(1).and_then(|at| self.runs.get_mut(at)) else { return };
        if run.until.is_before(point.taken_us, &name.origin) {
            return;
        }
        let before = run.bytes;
        run.add(Record { name: Arc::clone(name), point: point.clone() });
        if run.records.len() > 2 * MAX_RECORDS {
            run.keep_newest(MAX_RECORDS);
        }
        self.bytes = self.bytes + run.bytes - before;
    }

    /// Removes the series of a module.
    pub(crate) fn remove(&mut self, module: &ModuleId) {
        for run in &mut self.runs {
            run.records.retain(|record| record.name.origin.module_id != *module);
            run.bytes = RUN_BYTES + run.records.iter().map(Record::bytes).sum::<usize>();
        }
        self.bytes = self.runs.iter().map(|run| run.bytes).sum();
        self.sums.remove(module);
        self.epoch = draw();
    }

    /// Drops the runs that may contain removed records from before a time.
    pub(crate) fn forget_before(&mut self, before_us: i64) {
        self.runs.retain(|run| run.from.us >= before_us);
        self.bytes = self.runs.iter().map(|run| run.bytes).sum();
        self.sums.forget_before(before_us);
        self.epoch = draw();
    }

    /// The run that covers the records just after a boundary, or just before it if not `ascending`.
    pub(crate) fn beside(&self, edge: &Boundary, ascending: bool) -> Option<&Run> {
        let run = if ascending {
            let behind = self.runs.partition_point(|run| run.from <= *edge);
            self.runs.get(behind.checked_sub(1)?).filter(|run| *edge < run.until)
        } else {
            let behind = self.runs.partition_point(|run| run.from < *edge);
            self.runs.get(behind.checked_sub(1)?).filter(|run| *edge <= run.until)
        };
        run.inspect(|run| run.used.store(draw(), Relaxed))
    }

    /// Begins a merge. [`Self::end`] must be called for it.
    pub(crate) fn begin(&self) -> Ticket {
        let mut merging = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        merging.count += 1;
        Ticket { id: self.id, epoch: self.epoch, arrived: merging.arrived.len() }
    }

    /// The run of sums of a width that covers the buckets just after a boundary, for a query of this time
    /// range.
    pub(crate) fn sums(&self, width_us: i64, edge: &Boundary, time: &Range<i64>) -> Option<&SumRun> {
        self.sums.at(width_us, edge, time, draw())
    }

    /// Ends a merge. Returns the records that arrived since it began; `None` if its result must not be kept.
    fn ended(&mut self, ticket: Ticket) -> Option<Vec<Record>> {
        if ticket.id != self.id {
            return None;
        }
        let merging = self.merging.get_mut().unwrap_or_else(PoisonError::into_inner);
        merging.count = merging.count.saturating_sub(1);
        let arrived: Vec<_> = merging.arrived.get(ticket.arrived..).unwrap_or_default().to_vec();
        if merging.count == 0 {
            merging.arrived = Vec::new();
        }
        (ticket.epoch == self.epoch).then_some(arrived)
    }

    /// Ends a merge, with a run of sums unless it failed.
    pub(crate) fn end_sums(&mut self, ticket: Ticket, run: Option<SumRun>) {
        let arrived = self.ended(ticket);
        if let (Some(arrived), Some(run)) = (arrived, run) {
            self.sums.keep(run, arrived.iter().map(|record| (&record.name, &record.point)), draw());
        }
    }

    /// Ends a merge, with a run unless it failed.
    pub(crate) fn end(&mut self, ticket: Ticket, run: Option<Run>) {
        let arrived = self.ended(ticket);
        let (Some(arrived), Some(mut run)) = (arrived, run.filter(|run| run.bytes <= MAX_BYTES / 4)) else {
            return;
        };
        for record in arrived {
            let (us, origin) = (record.point.taken_us, &record.name.origin);
            if run.from.is_before(us, origin) && !run.until.is_before(us, origin) {
                run.add(record);
            }
        }
        self.keep(run);
    }

    fn keep(&mut self, mut run: Run) {
        // An existing run is as good, and may be longer.
        self.runs.retain(|other| other.from < run.from || other.until > run.until);
        let at = self.runs.partition_point(|other| other.from < run.from);
        if let Some(before) = at.checked_sub(1).map(|at| self.runs[at].until.clone())
            && before > run.from
        {
            let until = run.until.clone();
            run.clip(&before, &until);
        }
        if let Some(behind) = self.runs.get(at).map(|run| run.from.clone())
            && behind < run.until
        {
            let from = run.from.clone();
            run.clip(&from, &behind);
        }
        if run.from < run.until {
            run.used.store(draw(), Relaxed);
            self.runs.insert(at, run);
        }
        self.bytes = self.runs.iter().map(|run| run.bytes).sum();
    }

    /// The size of the runs in bytes, and the last use of the least recently used one.
    pub(crate) fn weight(&self) -> (usize, Option<u64>) {
        let oldest = self.runs.iter().map(|run| run.used.load(Relaxed)).min();
        (self.bytes + self.sums.bytes(), oldest.into_iter().chain(self.sums.oldest()).min())
    }

    /// Drops the run with this last use.
    fn drop_used(&mut self, used: u64) {
        self.sums.drop_used(used);
        self.runs.retain(|run| run.used.load(Relaxed) != used);
        self.bytes = self.runs.iter().map(|run| run.bytes).sum();
    }
}

/// Drops the least recently used runs of all types while they are too large together.
pub(crate) fn shrink<'a>(all: impl Iterator<Item = &'a mut Runs>) {
    let mut all: Vec<_> = all.filter(|runs| runs.weight().1.is_some()).collect();
    while all.iter().map(|runs| runs.weight().0).sum::<usize>() > MAX_BYTES {
        let oldest = all.iter_mut().min_by_key(|runs| runs.weight().1.unwrap_or(u64::MAX));
        let Some((runs, used)) = oldest.and_then(|runs| {
            let used = runs.weight().1?;
            Some((runs, used))
        }) else {
            return;
        };
        runs.drop_used(used);
    }
}
