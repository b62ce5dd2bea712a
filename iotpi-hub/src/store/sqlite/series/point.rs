//! A record of a series without the name of the series: the element of the WAL, of chunks and of the
//! memtable.

use iotpi_core::{Outcome, Reading, Sample, Timestamp, model::reading::TimeSource};

use super::boundary::Name;
use crate::store::Now;

/// One record of a series. Records of one series are ordered by `taken_us`; those of one microsecond by arrival.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    /// The time at which it was taken, in microseconds since 1970-01-01 00:00 UTC.
    pub(crate) taken_us: i64,
    /// The time of its arrival by the hub's clock, in milliseconds since 1970-01-01 00:00 UTC.
    pub(crate) received_ms: i64,
    /// A finite number, or the reason why there is none.
    pub(crate) outcome: Outcome,
    /// The clock of `taken_us`.
    pub(crate) source: TimeSource,
    /// Whether it has a sequence number. Counted by compaction, not stored in chunks.
    pub(crate) numbered: bool,
}

impl Point {
    /// A reading in its stored form. A number that is not finite is stored without a value.
    pub(crate) fn of(reading: Reading, now: Now) -> Self {
        let received_at = reading.received_at.unwrap_or(now.wall);
        Self {
            taken_us: reading.taken_at.as_micros(),
            received_ms: received_at.as_micros().div_euclid(1000),
            outcome: match reading.outcome {
                Outcome::Value(value) => Outcome::of(value),
                no_data => no_data,
            },
            source: reading.time_source,
            numbered: reading.number.is_some(),
        }
    }

    /// The reading of a stored record.
    pub(crate) fn reading(self, name: &Name) -> Reading {
        let mut sample = Sample::of(name.quantity.clone(), self.outcome);
        sample.channel.clone_from(&name.origin.channel);
        Reading::new(name.origin.module_id.clone(), sample, Timestamp::from_micros(self.taken_us))
            .with_received_at(Timestamp::from_micros(self.received_ms.saturating_mul(1000)))
            .with_time_source(self.source)
    }
}

/// Merges two ordered runs of points; in the same microsecond, those of `earlier` come first.
pub(crate) fn merged(earlier: Vec<Point>, later: impl IntoIterator<Item = Point>) -> Vec<Point> {
    let mut all = earlier;
    all.extend(later);
    // Stable, and fast on two runs that are in order already.
    all.sort_by_key(|point| point.taken_us);
    all
}

/// The points of a time range, among ordered points.
pub(crate) fn between(points: &[Point], since_us: i64, until_us: i64) -> &[Point] {
    let from = points.partition_point(|point| point.taken_us < since_us);
    let until = points.partition_point(|point| point.taken_us < until_us);
    points.get(from..until).unwrap_or_default()
}

/// A time source as one byte.
pub(crate) fn source_code(source: TimeSource) -> u8 {
    match source {
        TimeSource::Module => 0,
        TimeSource::Estimated => 1,
        TimeSource::Hub => 2,
        TimeSource::Arrival => 3,
        TimeSource::HubUnsynced => 4,
        // No request has another one.
        _ => 0,
    }
}

/// The time source of that byte.
pub(crate) fn source_of(code: u8) -> Option<TimeSource> {
    TimeSource::ALL.iter().copied().find(|source| source_code(*source) == code)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An arbitrary point.
    pub(crate) fn any_point() -> impl Strategy<Value = Point> {
        let outcome = prop_oneof![
            4 => (-1_000_000_i32..1_000_000).prop_map(|n| Outcome::Value(f64::from(n) / 1000.0)),
            2 => any::<f64>().prop_map(Outcome::of),
            1 => ".{0,20}".prop_map(Outcome::NoData),
        ];
        let source = prop::sample::select(TimeSource::ALL.to_vec());
        (any::<i32>(), any::<i32>(), outcome, source, any::<bool>()).prop_map(
            |(taken, received, outcome, source, numbered)| Point {
                taken_us: 1_795_472_000_000_000 + i64::from(taken) * 1000,
                received_ms: 1_795_472_000_000 + i64::from(received),
                outcome,
                source,
                numbered,
            },
        )
    }
}
