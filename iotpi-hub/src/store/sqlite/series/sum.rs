//! Sums of values, the widths of rollups, and the rule of when rollups are worth it.

use super::point::Point;

pub(crate) const SECOND: i64 = 1_000_000;
/// The widths of rollups, in seconds, widest first.
pub(crate) const WIDTHS: [i64; 3] = [86_400, 3_600, 60];
/// No rollup includes the records: the `unrolled_width` of a new chunk.
pub(crate) const UNROLLED: i64 = WIDTHS[0];

/// No record is earlier: a module may deliver one that it took a year before a hub booted in 1970. The start
/// of a day, so that a query without a start consists of whole days.
pub(crate) const EARLIEST: i64 = -400 * 86_400 * SECOND;
/// No record is later: the end of 2100, also the start of a day.
pub(crate) const LATEST: i64 = 47_847 * 86_400 * SECOND;

/// A row of a rollup takes some 45 bytes, a record in a chunk about 3: with this many records per row,
/// rollups add at most half as much again. Reading a row takes as long as reading ten records of a chunk.
const MIN_RECORDS_A_ROLLUP: usize = 32;
/// A chunk with fewer records has no rollups: reading them is cheap, and the next ones may come at another
/// rate.
const MIN_RECORDS_ROLLED: usize = 1_024;

/// Values summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sum {
    /// The number of values.
    pub(crate) present: u64,
    /// The number of records without a value.
    pub(crate) missing: u64,
    pub(crate) sum: f64,
    /// The minimum and the maximum.
    pub(crate) range: Option<(f64, f64)>,
}

impl Sum {
    pub(crate) fn of(points: &[Point]) -> Self {
        let mut sum = Self::default();
        points.iter().for_each(|point| sum.add(point.outcome.value()));
        sum
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, value: Option<f64>) {
        match value {
            Some(value) => {
                self.merge(&Self { present: 1, missing: 0, sum: value, range: Some((value, value)) });
            }
            None => self.missing += 1,
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.present += other.present;
        self.missing += other.missing;
        self.sum += other.sum;
        self.range = match (self.range, other.range) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }

    pub(crate) fn min(&self) -> Option<f64> {
        self.range.map(|(min, _)| min)
    }

    pub(crate) fn max(&self) -> Option<f64> {
        self.range.map(|(_, max)| max)
    }

    #[allow(clippy::cast_precision_loss)] // No interval has 2^53 records.
    pub(crate) fn avg(&self) -> Option<f64> {
        // The mean of an overflowed sum is unknown.
        (self.present > 0).then(|| self.sum / self.present as f64).filter(|avg| avg.is_finite())
    }
}

/// The number of the unit of `width` seconds that contains a time, counted from 1970, also before it.
pub(crate) fn unit_of(moment_us: i64, width: i64) -> i64 {
    moment_us.div_euclid(width * SECOND)
}

/// Ordered records, summed by units of `width` seconds: each unit that has one, by its number.
pub(crate) fn units(points: &[Point], width: i64) -> impl Iterator<Item = (i64, Sum)> {
    runs(points, width).map(move |run| (unit_of(run[0].taken_us, width), Sum::of(run)))
}

/// Ordered records, grouped by units of `width` seconds.
fn runs(points: &[Point], width: i64) -> impl Iterator<Item = &[Point]> {
    points.chunk_by(move |a, b| unit_of(a.taken_us, width) == unit_of(b.taken_us, width))
}

/// The widest width for which rollups of these ordered records would not be much smaller than the records; 0
/// if they would be for all widths.
pub(crate) fn unrolled_width(points: &[Point]) -> i64 {
    if points.len() < MIN_RECORDS_ROLLED {
        return UNROLLED;
    }
    let is_sparse = |width: &i64| runs(points, *width).count() * MIN_RECORDS_A_ROLLUP > points.len();
    WIDTHS.into_iter().find(is_sparse).unwrap_or(0)
}
