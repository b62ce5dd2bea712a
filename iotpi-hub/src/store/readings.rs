//! Readings and gaps in the store: queries, and the traits of both sides.

use std::time::Duration;

use async_trait::async_trait;
use iotpi_core::{
    Channel, ModuleId, Reading, SensorType, Timestamp, Unit,
    model::{
        gap::{DeliveryAccount, Gap, NewGap},
        page::Page,
        reading::{Bucket, ChannelFilter},
    },
};
use serde::{Deserialize, Serialize};

use super::{Now, PageRequest, Result};

/// The key of a series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesKey {
    /// The module of the series.
    pub module_id: ModuleId,
    /// The type of the series.
    pub sensor: SensorType,
    /// The channel of the series; `None` for the default one.
    pub channel: Option<Channel>,
}

impl SeriesKey {
    /// The key of the series that the reading belongs to.
    pub(crate) fn of(reading: &Reading) -> Self {
        let Reading { module_id, quantity, channel, .. } = reading;
        Self { module_id: module_id.clone(), sensor: quantity.name(), channel: channel.clone() }
    }
}

/// A query for readings of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadingQuery {
    /// The `{type}`.
    pub sensor: SensorType,
    /// Only readings of this module.
    pub module_id: Option<ModuleId>,
    /// Only readings of this channel; `None` for all channels.
    pub channel: Option<ChannelFilter>,
    /// The earliest time, inclusive.
    pub since: Option<Timestamp>,
    /// The latest time, exclusive.
    pub until: Option<Timestamp>,
    /// The latest time, inclusive: it excludes readings from a clock that was ahead. It moves with the
    /// current time and is not part of a cursor's query.
    pub not_after: Option<Timestamp>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

impl ReadingQuery {
    /// Whether the query includes all series of its type.
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.module_id.is_none() && self.channel.is_none()
    }

    /// The queried range in microseconds since 1970-01-01 00:00 UTC.
    pub(crate) fn time_us(&self) -> std::ops::Range<i64> {
        let since = self.since.map_or(i64::MIN, Timestamp::as_micros);
        let until = self.until.map_or(i64::MAX, Timestamp::as_micros);
        since..until.min(end_us(self.not_after))
    }

    /// The part of the query that a cursor belongs to.
    pub(crate) fn listed(&self) -> Self {
        Self { not_after: None, ..self.clone() }
    }
}

/// The first microsecond after `latest`.
pub(crate) fn end_us(latest: Option<Timestamp>) -> i64 {
    latest.map_or(i64::MAX, |latest| latest.as_micros().saturating_add(1))
}

/// The result of recording readings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Modules that were unknown before.
    pub new_modules: Vec<ModuleId>,
    /// The indexes of readings that had been stored before.
    pub repeated: Vec<usize>,
}

/// A query for gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GapQuery {
    /// Only gaps of this module.
    pub module_id: Option<ModuleId>,
    /// Only gaps of this type, or of an unknown series.
    pub sensor: Option<SensorType>,
    /// Only gaps of this channel, or of an unknown series; `None` for all channels.
    pub channel: Option<ChannelFilter>,
    /// Only gaps that end at or after this time.
    pub since: Option<Timestamp>,
    /// Only gaps that begin before this time.
    pub until: Option<Timestamp>,
}

/// Reads readings and gaps. The rules of [`Store`](super::Store) apply.
#[async_trait]
pub trait ReadReadings {
    /// Gaps by start time, oldest first, that overlap the queried range. A gap of an unknown series is in
    /// every series' list.
    async fn gaps(&self, query: &GapQuery, page: &PageRequest) -> Result<Page<Gap>>;

    /// The delivery account of a module; an unknown module has numbered no readings.
    async fn delivery(&self, module_id: &ModuleId) -> Result<DeliveryAccount>;

    /// All series, by module, then type, then channel.
    async fn series(&self) -> Result<Vec<SeriesKey>>;

    /// The units of these series, in this order; `None` if there is no such series.
    async fn units(&self, series: &[SeriesKey]) -> Result<Vec<Option<Unit>>>;

    /// Readings by time, then module, then channel, then arrival; newest first unless `ascending`.
    async fn readings(&self, query: &ReadingQuery, page: &PageRequest) -> Result<Page<Reading>>;

    /// Readings aggregated over intervals of `width` (a divisor of a day; UTC-aligned), one row for each
    /// series and interval, ordered by interval, then module, then channel, regardless of `ascending`. Empty
    /// intervals are left out. All four aggregates are set.
    async fn buckets(
        &self,
        query: &ReadingQuery,
        width: Duration,
        page: &PageRequest,
    ) -> Result<Page<Bucket>>;

    /// The newest reading of every series, by module id, then type, then channel. With `latest`, readings taken after that
    /// time are ignored: a clock that was ahead must not hide those that arrive now. A series without other
    /// readings is left out.
    async fn newest(
        &self,
        module_id: Option<&ModuleId>,
        latest: Option<Timestamp>,
        page: &PageRequest,
    ) -> Result<Page<Reading>>;

    /// The newest `count` readings of one series, oldest first; with `latest`, of those taken up to that
    /// time.
    async fn recent(&self, series: &SeriesKey, count: u32, latest: Option<Timestamp>)
    -> Result<Vec<Reading>>;
}

/// Records readings and gaps. The rules of [`Store`](super::Store) apply.
#[async_trait]
pub trait WriteReadings {
    /// Stores readings, all or none. Unknown modules and series are created with `now` as their first
    /// contact, at most `max_series` in all. A numbered reading that was stored before is not stored again.
    /// Arrival times are stored to the millisecond.
    ///
    /// Errors: [`OtherUnit`](super::StoreError::OtherUnit) if a series has another unit;
    /// [`LimitReached`](super::StoreError::LimitReached).
    async fn record(&self, readings: Vec<Reading>, max_series: u64, now: Now) -> Result<Recorded>;

    /// Stores a gap: numbered readings of a module that will never arrive. Creates the module if necessary. A
    /// repeated report of a gap (by epoch and first number) replaces the previous one. Returns whether the
    /// module was new.
    async fn record_gap(&self, module_id: &ModuleId, gap: &NewGap, now: Now) -> Result<bool>;
}
