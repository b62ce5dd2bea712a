//! Runs of sums: buckets over all modules of a sensor type, kept in memory as pages needed them.
//!
//! On disk records and rollups are stored by series, so a page of buckets over all modules opens those of
//! each. A run of sums is the result: the sum of every bucket and series between two boundaries, in the order
//! of the pages. It stays complete, because a new record is added to its sum.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use iotpi_core::ModuleId;

use super::{
    boundary::{Boundary, Name, Origin},
    bucket_sums::start_of,
    point::Point,
    sum::Sum,
};

/// The maximum number of runs of one sensor type: each is checked for each new record.
const MAX_RUNS: usize = 32;
/// The maximum number of sums of one run: a run without an end would otherwise grow with each new bucket. In
/// tests it is so small that runs are often cut.
const MAX_SUMS: usize = if cfg!(test) { 24 } else { 4096 };
/// The size of a run without its sums.
const RUN_BYTES: usize = 512;

/// The sum of one series and bucket.
#[derive(Debug, Clone)]
pub(crate) struct SeriesSum {
    /// The start of the bucket.
    pub(crate) start: i64,
    pub(crate) name: Arc<Name>,
    pub(crate) sum: Sum,
}

impl SeriesSum {
    /// The order of pages.
    pub(crate) fn key(&self) -> (i64, &Origin) {
        (self.start, &self.name.origin)
    }
}

/// All buckets of one width between two boundaries, in order. The time of a boundary is the start of a
/// bucket.
#[derive(Debug)]
pub(crate) struct SumRun {
    width_us: i64,
    /// Records of other times are not included.
    time: Range<i64>,
    from: Boundary,
    until: Boundary,
    sums: Vec<SeriesSum>,
    used: AtomicU64,
}

impl SumRun {
    pub(crate) fn new(
        width_us: i64,
        time: Range<i64>,
        (from, until): (Boundary, Boundary),
        sums: Vec<SeriesSum>,
    ) -> Self {
        Self { width_us, time, from, until, sums, used: AtomicU64::new(0) }
    }

    fn bytes(&self) -> usize {
        RUN_BYTES + self.sums.len() * size_of::<SeriesSum>()
    }

    /// Whether the same part of a bucket is included as in a query of this time range.
    fn fits(&self, start: i64, time: &Range<i64>) -> bool {
        let part =
            |time: &Range<i64>| (time.start.max(start), time.end.min(start.saturating_add(self.width_us)));
        part(&self.time) == part(time)
    }

    /// Up to `most` sums after a boundary, as far as they match a query of this time range, and the boundary
    /// up to which they are complete.
    pub(crate) fn behind(&self, edge: &Boundary, time: &Range<i64>, most: usize) -> (&[SeriesSum], Boundary) {
        let first = self.sums.partition_point(|sum| !edge.is_before(sum.start, &sum.name.origin));
        let rest = self.sums.get(first..).unwrap_or_default();
        // The first bucket with another part included than the query requests.
        let other = if self.time.end == time.end {
            i64::MAX
        } else {
            start_of(self.time.end.min(time.end), self.width_us)
        };
        let fitting = rest.partition_point(|sum| sum.start < other);
        let taken = rest.get(..fitting.min(most)).unwrap_or_default();
        let until = match taken.last() {
            Some(last) if taken.len() < fitting => Boundary::behind(last.start, last.name.origin.clone()),
            _ => self.until.clone().min(Boundary::at(other)),
        };
        (taken, until)
    }

    /// Adds a new record, if it is in the run.
    fn add(&mut self, name: &Arc<Name>, point: &Point) {
        let start = start_of(point.taken_us, self.width_us);
        if !self.time.contains(&point.taken_us)
            || !self.from.is_before(start, &name.origin)
            || self.until.is_before(start, &name.origin)
        {
            return;
        }
        let at = match self.sums.binary_search_by(|sum| sum.key().cmp(&(start, &name.origin))) {
            Ok(at) => at,
            Err(at) => {
                self.sums.insert(at, SeriesSum { start, name: Arc::clone(name), sum: Sum::default() });
                at
            }
        };
        if let Some(sum) = self.sums.get_mut(at) {
            sum.sum.add(point.outcome.value());
        }
        if self.sums.len() > MAX_SUMS {
            self.keep_first(MAX_SUMS / 2);
        }
    }

    /// Drops the latest sums: queries read a run from its start.
    fn keep_first(&mut self, count: usize) {
        self.sums.truncate(count);
        if let Some(last) = self.sums.last() {
            self.until = Boundary::behind(last.start, last.name.origin.clone());
        }
    }
}

/// The runs of sums of one sensor type.
#[derive(Debug, Default)]
pub(crate) struct Sums(Vec<SumRun>);

impl Sums {
    /// Adds a record that arrived.
    pub(crate) fn add(&mut self, name: &Arc<Name>, point: &Point) {
        self.0.iter_mut().for_each(|run| run.add(name, point));
    }

    /// Removes the series of a module.
    pub(crate) fn remove(&mut self, module: &ModuleId) {
        for run in &mut self.0 {
            run.sums.retain(|sum| sum.name.origin.module_id != *module);
        }
    }

    /// Drops the runs that may contain removed records from before a time.
    pub(crate) fn forget_before(&mut self, before_us: i64) {
        self.0.retain(|run| run.from.us >= before_us);
    }

    /// A run that covers the buckets just after a boundary, for a query of this time range.
    pub(crate) fn at(&self, width_us: i64, edge: &Boundary, time: &Range<i64>, used: u64) -> Option<&SumRun> {
        let is_it = |run: &&SumRun| {
            run.width_us == width_us && run.from <= *edge && *edge < run.until && run.fits(edge.us, time)
        };
        self.0.iter().find(is_it).inspect(|run| run.used.store(used, Relaxed))
    }

    /// Keeps a run, after adding the records that arrived during its merge.
    pub(crate) fn keep<'a>(
        &mut self,
        mut run: SumRun,
        arrived: impl Iterator<Item = (&'a Arc<Name>, &'a Point)>,
        used: u64,
    ) {
        arrived.for_each(|(name, point)| run.add(name, point));
        let is_part = |other: &SumRun| {
            other.width_us == run.width_us
                && other.time == run.time
                && run.from <= other.from
                && other.until <= run.until
        };
        self.0.retain(|other| !is_part(other));
        if self.0.len() == MAX_RUNS
            && let Some(oldest) = self.oldest()
        {
            self.drop_used(oldest);
        }
        run.used.store(used, Relaxed);
        self.0.push(run);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(SumRun::bytes).sum()
    }

    /// The last use of the least recently used run.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.0.iter().map(|run| run.used.load(Relaxed)).min()
    }

    /// Drops the run with this last use.
    pub(crate) fn drop_used(&mut self, used: u64) {
        self.0.retain(|run| run.used.load(Relaxed) != used);
    }
}
