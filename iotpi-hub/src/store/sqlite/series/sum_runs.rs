//! Sums of stretches over all modules of a sensor type, kept in memory as pages needed them.
//!
//! On the disk records and rollups lie by series, so a page of stretches over all modules opens those of each. A run of sums is
//! the result: the sum of every stretch and module between two edges, in the order of the pages. It stays complete, because
//! a new record is added to the sum it belongs to.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use iotpi_core::ModuleId;

use super::{
    boundary::{Boundary, Name},
    bucket_sums::start_of,
    point::Point,
    sum::Sum,
};

/// Runs of one sensor type, at most: each is looked at for each new record.
const MAX_RUNS: usize = 32;
/// Sums of one run, at most: a run that reaches to the end of time would otherwise grow with each new stretch. In tests so few that
/// runs are often cut.
const MAX_SUMS: usize = if cfg!(test) { 24 } else { 4096 };
/// What a run takes beside its sums.
const RUN_BYTES: usize = 512;

/// The sum of one series and stretch.
#[derive(Debug, Clone)]
pub(crate) struct SeriesSum {
    /// When the stretch begins.
    pub(crate) start: i64,
    pub(crate) name: Arc<Name>,
    pub(crate) sum: Sum,
}

impl SeriesSum {
    /// The order of pages.
    pub(crate) fn key(&self) -> (i64, &ModuleId) {
        (self.start, &self.name.module_id)
    }
}

/// All sums of stretches of one width between two edges, in order. The time of an edge is the beginning of a stretch.
#[derive(Debug)]
pub(crate) struct SumRun {
    width_us: i64,
    /// Records taken at other times are not included.
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

    /// Whether the same part of a stretch is summed up as a query of that time wants.
    fn fits(&self, start: i64, time: &Range<i64>) -> bool {
        let part =
            |time: &Range<i64>| (time.start.max(start), time.end.min(start.saturating_add(self.width_us)));
        part(&self.time) == part(time)
    }

    /// Up to `most` sums behind an edge, as far as they fit a query of that time, and the edge up to which they are complete.
    pub(crate) fn behind(&self, edge: &Boundary, time: &Range<i64>, most: usize) -> (&[SeriesSum], Boundary) {
        let first = self.sums.partition_point(|sum| !edge.is_before(sum.start, &sum.name.module_id));
        let rest = self.sums.get(first..).unwrap_or_default();
        // The first stretch of which another part is summed up than the query wants.
        let other = if self.time.end == time.end {
            i64::MAX
        } else {
            start_of(self.time.end.min(time.end), self.width_us)
        };
        let fitting = rest.partition_point(|sum| sum.start < other);
        let taken = rest.get(..fitting.min(most)).unwrap_or_default();
        let until = match taken.last() {
            Some(last) if taken.len() < fitting => Boundary::behind(last.start, last.name.module_id.clone()),
            _ => self.until.clone().min(Boundary::at(other)),
        };
        (taken, until)
    }

    /// Adds a new record, if it belongs here.
    fn add(&mut self, name: &Arc<Name>, point: &Point) {
        let start = start_of(point.taken_us, self.width_us);
        if !self.time.contains(&point.taken_us)
            || !self.from.is_before(start, &name.module_id)
            || self.until.is_before(start, &name.module_id)
        {
            return;
        }
        let at = match self.sums.binary_search_by(|sum| sum.key().cmp(&(start, &name.module_id))) {
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

    /// Leaves out the latest sums: queries come to a run from its beginning.
    fn keep_first(&mut self, count: usize) {
        self.sums.truncate(count);
        if let Some(last) = self.sums.last() {
            self.until = Boundary::behind(last.start, last.name.module_id.clone());
        }
    }
}

/// The runs of sums of one sensor type.
#[derive(Debug, Default)]
pub(crate) struct Sums(Vec<SumRun>);

impl Sums {
    /// A record arrived.
    pub(crate) fn add(&mut self, name: &Arc<Name>, point: &Point) {
        self.0.iter_mut().for_each(|run| run.add(name, point));
    }

    /// A series is gone.
    pub(crate) fn remove(&mut self, module: &ModuleId) {
        for run in &mut self.0 {
            run.sums.retain(|sum| sum.name.module_id != *module);
        }
    }

    /// Some records from before a moment were removed.
    pub(crate) fn forget_before(&mut self, before_us: i64) {
        self.0.retain(|run| run.from.us >= before_us);
    }

    /// A run that has what lies directly behind an edge, for a query of that time.
    pub(crate) fn at(&self, width_us: i64, edge: &Boundary, time: &Range<i64>, used: u64) -> Option<&SumRun> {
        let is_it = |run: &&SumRun| {
            run.width_us == width_us && run.from <= *edge && *edge < run.until && run.fits(edge.us, time)
        };
        self.0.iter().find(is_it).inspect(|run| run.used.store(used, Relaxed))
    }

    /// Keeps a run, to which the records that arrived while it was made are added first.
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

    /// When the least recently used run was used.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.0.iter().map(|run| run.used.load(Relaxed)).min()
    }

    /// Drops the run that was used then.
    pub(crate) fn drop_used(&mut self, used: u64) {
        self.0.retain(|run| run.used.load(Relaxed) != used);
    }
}
