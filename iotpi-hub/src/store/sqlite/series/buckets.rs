//! A page of buckets over all series of a query, collected a few buckets at a time: only what can be on the
//! page is read, however many series there are and however long they are.

use std::{ops::Range, time::Duration};

use iotpi_core::{Timestamp, model::reading::Bucket};

use super::{
    boundary::{Boundary, Origin},
    bucket_sums::start_of,
    memtable::AllSeries,
    sum::{EARLIEST, LATEST},
    sum_runs::{SeriesSum, SumRun},
};
use crate::store::sqlite::{columns::micros, failure::EngineResult};
use crate::store::{
    Page, PageRequest, ReadingQuery,
    cursor::{self, List},
};

/// One step of a page: some series in a time range.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) query: ReadingQuery,
    pub(crate) width_us: i64,
    pub(crate) from_us: i64,
    pub(crate) until_us: i64,
    /// The time range of the whole query.
    time: Range<i64>,
    /// The range of the step's buckets, from the start of the first to the end of the last.
    buckets: Range<i64>,
    /// Only series after this origin, and at most `series` of them.
    pub(crate) after: Option<Origin>,
    pub(crate) series: usize,
    /// The maximum number of buckets of each series.
    pub(crate) most: usize,
}

impl Step {
    /// The result of the step, to be kept for other queries.
    pub(crate) fn run(&self, summed: &Summed) -> SumRun {
        let first = self.buckets.start;
        let behind = |origin: &Origin| Boundary::behind(first, origin.clone());
        let until = match (summed.sums.last(), &summed.stopped_at) {
            (Some(last), _) if summed.sums.len() == self.most => {
                Boundary::behind(last.start, last.name.origin.clone())
            }
            (_, Some(origin)) => behind(origin),
            _ if !summed.goes_on && self.after.is_none() => Boundary::LAST,
            _ => Boundary::at(self.buckets.end),
        };
        let from = self.after.as_ref().map_or(Boundary::at(first), behind);
        SumRun::new(self.width_us, self.time.clone(), (from, until), summed.sums.clone())
    }
}

/// The result of a step, in order: at most the requested number of sums.
#[derive(Debug, Default)]
pub(crate) struct Summed {
    pub(crate) sums: Vec<SeriesSum>,
    /// The last origin that was read, unless the step read all.
    pub(crate) stopped_at: Option<Origin>,
    /// Whether one of the series has records after the step.
    pub(crate) goes_on: bool,
}

/// A page that is being collected.
#[derive(Debug)]
pub(crate) struct BucketPager {
    list: List,
    query: ReadingQuery,
    request: PageRequest,
    width_us: i64,
    since: i64,
    until: i64,
    /// The next bucket, and the origin after which to continue in it.
    next: i64,
    after: Option<Origin>,
    /// The number of buckets in a step.
    buckets: i64,
    series: usize,
    most: usize,
    goes_on: bool,
    /// Whether some series of the first bucket were on the last page.
    is_part: bool,
    /// The number of sums of the current buckets so far.
    in_step: usize,
    found: Vec<SeriesSum>,
}

impl BucketPager {
    /// Begins a page over this number of series; no record is older than `first_us`.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`](crate::store::StoreError::BadCursor).
    pub(crate) fn new(
        query: &ReadingQuery,
        width: Duration,
        page: &PageRequest,
        series: usize,
        first_us: Option<i64>,
    ) -> EngineResult<Self> {
        let list = List::new("buckets", &(query.listed(), width));
        let width_us = micros(width).max(1);
        let asked = query.time_us();
        let (since, until) = (asked.start.max(EARLIEST), asked.end.min(LATEST));
        let mut next = start_of(since.max(first_us.unwrap_or(EARLIEST)), width_us);
        let mut after = None;
        if let Some((start, origin)) = list.key::<(i64, Origin)>(page)? {
            // The last page ended within a bucket: the series after its last one remain.
            (next, after) = match query.module_id.is_some() && series <= 1 {
                false => (start, Some(origin)),
                true => (start.saturating_add(width_us), None),
            };
        }
        let most = cursor::limit(page) + 1;
        let (query, request) = (query.clone(), page.clone());
        let (buckets, found, goes_on) = (0, Vec::new(), false);
        let is_part = after.is_some();
        Ok(Self {
            list,
            query,
            request,
            width_us,
            since,
            until,
            next,
            after,
            buckets,
            series: series.max(1),
            most,
            goes_on,
            is_part,
            in_step: 0,
            found,
        })
    }

    /// Takes the sums that are in memory.
    pub(crate) fn take_kept(&mut self, series: &AllSeries) {
        let Some(runs) = series.runs(&self.query.sensor).filter(|_| self.query.is_unrestricted()) else {
            return;
        };
        let time = self.since..self.until;
        while self.found.len() < self.most && self.next < self.until {
            let edge = match &self.after {
                Some(origin) => Boundary::behind(self.next, origin.clone()),
                None => Boundary::at(self.next),
            };
            let Some(run) = runs.sums(self.width_us, &edge, &time) else { return };
            let (sums, until) = run.behind(&edge, &time, self.most - self.found.len());
            self.found.extend_from_slice(sums);
            (self.next, self.after) = (until.us, until.origin);
            self.is_part = self.after.is_some();
            self.buckets = 0;
        }
    }

    /// The next step; `None` if the page is complete.
    pub(crate) fn step(&mut self) -> Option<Step> {
        let remaining = self.most.saturating_sub(self.found.len());
        if remaining == 0 || self.next >= self.until {
            return None;
        }
        let usual = i64::try_from(remaining / self.series).unwrap_or(i64::MAX).max(1);
        // A bucket with some series on the last page is a step of its own.
        self.buckets = if self.after.is_some() { 1 } else { usual.max(self.buckets) };
        if self.series == 1 && self.after.is_none() {
            self.buckets = i64::MAX;
        }
        let until = self.next.saturating_add(self.width_us.saturating_mul(self.buckets));
        Some(Step {
            query: self.query.clone(),
            width_us: self.width_us,
            from_us: self.next.max(self.since),
            until_us: until.min(self.until),
            time: self.since..self.until,
            buckets: self.next..until,
            after: self.after.clone(),
            // Each series has at most one sum in a bucket, so this many series, in order, are enough.
            series: if self.buckets == 1 { remaining } else { usize::MAX },
            most: remaining,
        })
    }

    /// Takes the result of a step.
    pub(crate) fn take(&mut self, step: &Step, summed: Summed) {
        self.in_step += summed.sums.len();
        self.found.extend(summed.sums);
        self.goes_on |= summed.goes_on;
        if let Some(origin) = summed.stopped_at {
            self.after = Some(origin);
            return;
        }
        self.after = None;
        let is_part = std::mem::take(&mut self.is_part);
        let in_step = std::mem::take(&mut self.in_step);
        // There is nothing after the last record of all series.
        let reached = !self.goes_on && !is_part;
        self.next = if reached { self.until } else { step.until_us };
        self.goes_on = false;
        // If records are sparse, the next step is larger.
        let few = in_step == 0 || in_step < step.most / 4;
        self.buckets = if few && !is_part { self.buckets.saturating_mul(2) } else { 0 };
    }

    /// The page.
    pub(crate) fn page(mut self) -> Page<Bucket> {
        self.found.truncate(self.most);
        let found = self.found.into_iter().map(bucket).collect();
        let origin =
            |bucket: &Bucket| Origin { module_id: bucket.module_id.clone(), channel: bucket.channel.clone() };
        self.list.page(found, &self.request, |bucket| (bucket.start.as_micros(), origin(bucket)))
    }
}

fn bucket(SeriesSum { start, name, sum }: SeriesSum) -> Bucket {
    let module_id = name.origin.module_id.clone();
    let mut bucket = Bucket::new(module_id, &name.quantity, Timestamp::from_micros(start));
    bucket.channel.clone_from(&name.origin.channel);
    (bucket.avg, bucket.min, bucket.max) = (sum.avg(), sum.min(), sum.max());
    (bucket.count, bucket.missing) = (Some(sum.present), sum.missing);
    bucket
}
