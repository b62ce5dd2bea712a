//! Runs: stretches of a sensor type's records over all its modules, merged in order and kept in memory.
//!
//! On the disk the records lie by series, so a page over all modules has to be merged from a chunk of each. A run is the
//! result of such a merge: every record of the type between two edges. The newest page, the oldest, and whatever was asked for
//! last are answered from runs alone, in time that does not depend on how many series there are.
//!
//! A run is complete: the writer adds each new record that lies between its edges. What removes records removes them here. Runs
//! of sums ([`super::sum_runs`]) are kept with them.
//! Runs take up to [`MAX_BYTES`] in all; the least recently used goes first.

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

/// All runs together, about. In tests so few that runs are often left out.
const MAX_BYTES: usize = if cfg!(test) { 16 << 10 } else { 4 << 20 };
/// The most records a merge adds to a run on top of those that were asked for, because they were at hand.
pub(crate) const MAX_RECORDS: usize = if cfg!(test) { 16 } else { 4096 };
/// What a record takes beside its reason.
const RECORD_BYTES: usize = size_of::<Record>();
/// What a run takes beside its records.
const RUN_BYTES: usize = 512;
/// Records that may arrive while a merge is made; with more, its run is not kept.
const MAX_ARRIVALS: usize = 8192;

/// A record with its series.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) name: Arc<Name>,
    pub(crate) point: Point,
}

impl Record {
    pub(crate) fn reading(self) -> Reading {
        self.point.reading(self.name.module_id.clone(), self.name.quantity.clone())
    }

    fn bytes(&self) -> usize {
        RECORD_BYTES + self.point.outcome.reason().map_or(0, str::len)
    }

    /// Whether it is of the same module and microsecond.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.point.taken_us == other.point.taken_us && self.name.module_id == other.name.module_id
    }
}

/// All records of a sensor type between two edges, in order.
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

    /// How many records lie before an edge.
    pub(crate) fn before(&self, edge: &Boundary) -> usize {
        self.records.partition_point(|record| !edge.is_before(record.point.taken_us, &record.name.module_id))
    }

    /// Adds a record that arrived later than those that are there.
    fn add(&mut self, record: Record) {
        let edge = Boundary::behind(record.point.taken_us, record.name.module_id.clone());
        if !is_before_any_of(&edge, &self.records) {
            self.bytes += record.bytes();
            self.records.push(record);
            return;
        }
        let at = self.before(&edge);
        self.bytes += record.bytes();
        self.records.insert(at, record);
    }

    /// Leaves out the oldest records, so that about `count` stay.
    fn keep_newest(&mut self, count: usize) {
        let mut first = self.records.len().saturating_sub(count);
        // The records of one module and microsecond stay together.
        while first > 0
            && self.records.get(first).is_some_and(|next| next.is_beside(&self.records[first - 1]))
        {
            first -= 1;
        }
        if let Some(oldest) = self.records.get(first).filter(|_| first > 0) {
            self.from = Boundary::before(oldest.point.taken_us, oldest.name.module_id.clone());
            self.bytes -= self.records.drain(..first).map(|record| record.bytes()).sum::<usize>();
        }
    }

    /// Narrows the run to what lies between two edges.
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

/// Whether one of these records, in order, is behind the boundary.
fn is_before_any_of(boundary: &Boundary, records: &[Record]) -> bool {
    records.last().is_some_and(|last| boundary.is_before(last.point.taken_us, &last.name.module_id))
}

/// Draws numbers that are never drawn again.
fn draw() -> u64 {
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    DRAWN.fetch_add(1, Relaxed)
}

/// The runs of one sensor type, in order; none touches another's records.
#[derive(Debug)]
pub(crate) struct Runs {
    runs: Vec<Run>,
    bytes: usize,
    sums: Sums,
    /// Tells these runs from those of a type that was removed and began anew.
    id: u64,
    /// Drawn anew whenever records went: a merge that began before is not kept.
    epoch: u64,
    merging: Mutex<Merging>,
}

/// The merges under way.
#[derive(Debug, Default)]
struct Merging {
    count: usize,
    /// What arrived since the first of them began.
    arrived: Vec<Record>,
}

/// A merge under way: from which moment on records that arrive have to be added to its run.
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
    /// A record arrived.
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
        let behind = self.runs.partition_point(|run| run.from.is_before(point.taken_us, &name.module_id));
        let Some(run) = behind.checked_sub(1).and_then(|at| self.runs.get_mut(at)) else { return };
        if run.until.is_before(point.taken_us, &name.module_id) {
            return;
        }
        let before = run.bytes;
        run.add(Record { name: Arc::clone(name), point: point.clone() });
        if run.records.len() > 2 * MAX_RECORDS {
            run.keep_newest(MAX_RECORDS);
        }
        self.bytes = self.bytes + run.bytes - before;
    }

    /// A series is gone.
    pub(crate) fn remove(&mut self, module: &ModuleId) {
        for run in &mut self.runs {
            run.records.retain(|record| record.name.module_id != *module);
            run.bytes = RUN_BYTES + run.records.iter().map(Record::bytes).sum::<usize>();
        }
        self.bytes = self.runs.iter().map(|run| run.bytes).sum();
        self.sums.remove(module);
        self.epoch = draw();
    }

    /// Some records from before a moment were removed: drops the runs that may have them.
    pub(crate) fn forget_before(&mut self, before_us: i64) {
        self.runs.retain(|run| run.from.us >= before_us);
        self.bytes = self.runs.iter().map(|run| run.bytes).sum();
        self.sums.forget_before(before_us);
        self.epoch = draw();
    }

    /// The run that covers what lies directly behind an edge, or with `ascending` false directly before it.
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

    /// A merge begins; [`Self::end`] is to be called for it.
    pub(crate) fn begin(&self) -> Ticket {
        let mut merging = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        merging.count += 1;
        Ticket { id: self.id, epoch: self.epoch, arrived: merging.arrived.len() }
    }

    /// The run of sums of that width that has what lies directly behind an edge, for a query of that time.
    pub(crate) fn sums(&self, width_us: i64, edge: &Boundary, time: &Range<i64>) -> Option<&SumRun> {
        self.sums.at(width_us, edge, time, draw())
    }

    /// A merge ended. Answers the records that arrived since it began; nothing when its result is not to be kept.
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

    /// A merge ended, with a run of sums unless it failed.
    pub(crate) fn end_sums(&mut self, ticket: Ticket, run: Option<SumRun>) {
        let arrived = self.ended(ticket);
        if let (Some(arrived), Some(run)) = (arrived, run) {
            self.sums.keep(run, arrived.iter().map(|record| (&record.name, &record.point)), draw());
        }
    }

    /// A merge ended, with a run unless it failed.
    pub(crate) fn end(&mut self, ticket: Ticket, run: Option<Run>) {
        let arrived = self.ended(ticket);
        let (Some(arrived), Some(mut run)) = (arrived, run.filter(|run| run.bytes <= MAX_BYTES / 4)) else {
            return;
        };
        for record in arrived {
            let (us, module) = (record.point.taken_us, &record.name.module_id);
            if run.from.is_before(us, module) && !run.until.is_before(us, module) {
                run.add(record);
            }
        }
        self.keep(run);
    }

    fn keep(&mut self, mut run: Run) {
        // What is there already is as good, and may be more.
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

    /// How many bytes the runs take, and when the least recently used one was used.
    pub(crate) fn weight(&self) -> (usize, Option<u64>) {
        let oldest = self.runs.iter().map(|run| run.used.load(Relaxed)).min();
        (self.bytes + self.sums.bytes(), oldest.into_iter().chain(self.sums.oldest()).min())
    }

    /// Drops the run that was used then.
    fn drop_used(&mut self, used: u64) {
        self.sums.drop_used(used);
        self.runs.retain(|run| run.used.load(Relaxed) != used);
        self.bytes = self.runs.iter().map(|run| run.bytes).sum();
    }
}

/// Drops the least recently used runs of all types while they are too many together.
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
