//! A page of the records of several series of a sensor type, collected from runs.

use std::cmp::Ordering;

use iotpi_core::Reading;

use super::{
    boundary::Boundary,
    memtable::AllSeries,
    merge::MergeRequest,
    readings::RecordKey,
    runs::{Record, Run},
};
use crate::store::sqlite::failure::EngineResult;
use crate::store::{
    Page, PageRequest, ReadingQuery,
    cursor::{self, List},
};

/// A page that is being collected.
#[derive(Debug)]
pub(crate) struct ReadingPager {
    list: List,
    query: ReadingQuery,
    request: PageRequest,
    /// The end of the last page.
    after: Option<RecordKey>,
    /// The begin and the end of the records that are not taken yet.
    edge: Boundary,
    end: Boundary,
    most: usize,
    /// Each record with the number of records of its origin and microsecond that arrived before it.
    found: Vec<(Record, u32)>,
}

impl ReadingPager {
    /// # Errors
    /// [`StoreError::BadCursor`](crate::store::StoreError::BadCursor).
    pub(crate) fn new(query: &ReadingQuery, page: &PageRequest) -> EngineResult<Self> {
        let list = List::new("readings", &query.listed());
        let after = list.key::<RecordKey>(page)?;
        let time = query.time_us();
        let (since, until) = (Boundary::at(time.start), Boundary::at(time.end));
        let (mut edge, end) = if query.ascending { (since, until) } else { (until, since) };
        // The origin and microsecond in which the last page ended may have more records.
        match after.clone() {
            Some((us, origin, _)) if query.ascending => edge = edge.max(Boundary::before(us, origin)),
            Some((us, origin, _)) => edge = edge.min(Boundary::behind(us, origin)),
            None => {}
        }
        let most = cursor::limit(page) + 1;
        let (query, request) = (query.clone(), page.clone());
        Ok(Self { list, query, request, after, edge, end, most, found: Vec::new() })
    }

    /// Takes the records in memory. Returns the next merge that is needed; `None` if the page is complete.
    pub(crate) fn go_on(&mut self, series: &AllSeries) -> Option<MergeRequest> {
        let runs = series.runs(&self.query.sensor)?;
        let ascending = self.query.ascending;
        while !self.is_whole() {
            // Runs are those of all series.
            match runs.beside(&self.edge, ascending).filter(|_| self.query.is_unrestricted()) {
                Some(run) => self.take(run),
                None => {
                    let (from, until) = match ascending {
                        true => (self.edge.clone(), self.end.clone()),
                        false => (self.end.clone(), self.edge.clone()),
                    };
                    // The latest time moves with the clock: a run that ends there would serve no later query.
                    // A run that begins later still reaches the end without covering the needed records.
                    let is_free = ascending || runs.beside(&Boundary::LAST, false).is_none();
                    let is_last =
                        is_free && self.query.is_unrestricted() && series.is_last(&self.query.sensor, &until);
                    let until = if is_last { Boundary::LAST } else { until };
                    let want = self.most - self.found.len();
                    return Some(MergeRequest { query: self.query.clone(), from, until, want });
                }
            }
        }
        None
    }

    fn is_whole(&self) -> bool {
        let reached = if self.query.ascending { self.edge >= self.end } else { self.edge <= self.end };
        reached || self.found.len() >= self.most
    }

    /// Takes the records of a run that are on the page. The run covers the boundary.
    pub(crate) fn take(&mut self, run: &Run) {
        let first = run.before(if self.query.ascending { &self.edge } else { &self.end });
        let last = run.before(if self.query.ascending { &self.end } else { &self.edge });
        let records = run.records.get(first..last).unwrap_or_default();
        if self.query.ascending {
            for group in records.chunk_by(Record::is_beside) {
                self.take_group(group);
                if self.found.len() >= self.most {
                    break;
                }
            }
            self.edge = run.until.clone();
        } else {
            let mut rest = records;
            while let Some(newest) = rest.last().filter(|_| self.found.len() < self.most) {
                let group = rest.iter().rev().take_while(|record| record.is_beside(newest)).count();
                let (before, group) = rest.split_at(rest.len() - group);
                self.take_group(group);
                rest = before;
            }
            // A run may begin after the boundary, if records arrived there during the merge.
            self.edge = run.from.clone().min(self.edge.clone());
        }
    }

    /// Takes the records of one origin and microsecond.
    fn take_group(&mut self, group: &[Record]) {
        let remaining = self.most.saturating_sub(self.found.len());
        let Some(one) = group.first().filter(|_| remaining > 0) else { return };
        let after = self.after.as_ref().map(|(us, origin, ordinal)| {
            let group = (one.point.taken_us, &one.name.origin).cmp(&(*us, origin));
            (group, *ordinal)
        });
        let numbered = (0_u32..).zip(group).map(|(ordinal, record)| (record, ordinal));
        let is_left = |(_, ordinal): &(&Record, u32)| match after {
            Some((Ordering::Equal, last)) if self.query.ascending => *ordinal > last,
            Some((Ordering::Equal, last)) => *ordinal < last,
            _ => true,
        };
        let left: Vec<_> = numbered.filter(is_left).collect();
        let clone = |(record, ordinal): &(&Record, u32)| ((*record).clone(), *ordinal);
        if self.query.ascending {
            self.found.extend(left.iter().take(remaining).map(clone));
        } else {
            self.found.extend(left.iter().rev().take(remaining).map(clone));
        }
    }

    /// The page.
    pub(crate) fn page(self) -> Page<Reading> {
        let key =
            |(record, ordinal): &(Record, u32)| (record.point.taken_us, record.name.origin.clone(), *ordinal);
        self.list.page(self.found, &self.request, key).map(|(record, _)| record.reading())
    }
}
