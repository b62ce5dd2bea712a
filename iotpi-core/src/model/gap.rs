//! Gaps (readings that were taken and will not arrive) and the account of the readings that did.

use serde::{Deserialize, Serialize};

use crate::{
    model::{
        id::{Channel, ModuleId, SensorType},
        reading::SeriesSpec,
        word::{known, words},
    },
    time::Timestamp,
};

/// The maximum number of series in one gap.
pub const MAX_GAP_SERIES: usize = 64;

words! {
    /// The reasons for a loss of readings.
    GapReason {
        /// The outbox reached its limit of bytes or readings while the hub was unreachable.
        Full = "full",
        /// The readings exceeded the outbox's maximum age.
        TooOld = "too_old",
        /// The outbox could not be read: a torn or damaged file.
        Unreadable = "unreadable",
        /// The hub refused the readings permanently.
        Refused = "refused",
        /// The readings were in memory when the module was killed.
        Killed = "killed",
    }
}

/// The body of `POST /api/modules/{id}/gaps`: sequence numbers of readings that will never arrive.
///
/// A gap is identified by its epoch and first number, so a repeated report changes nothing.
///
/// ```
/// use iotpi_core::model::gap::{GapReason, NewGap};
///
/// assert_eq!(NewGap::new(1, 7, 9, GapReason::Full).lost(), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NewGap {
    /// The epoch of the numbers.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub epoch: u64,
    /// The first lost number.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub first_seq: u64,
    /// The last lost number; all between are lost, too.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub last_seq: u64,
    /// The reason for the loss.
    #[serde(deserialize_with = "known")]
    pub reason: GapReason,
    /// The losses of each series, as far as the module knows them; up to 64.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub series: Vec<SeriesGap>,
}

impl NewGap {
    /// The loss of the numbers `first_seq` to `last_seq`, both included, of an epoch.
    #[must_use]
    pub fn new(epoch: u64, first_seq: u64, last_seq: u64, reason: GapReason) -> Self {
        Self { epoch, first_seq, last_seq, reason, series: Vec::new() }
    }

    /// Adds the losses of each series.
    #[must_use]
    pub fn with_series(mut self, series: Vec<SeriesGap>) -> Self {
        self.series = series;
        self
    }

    /// The number of lost readings.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.last_seq.saturating_sub(self.first_seq).saturating_add(1)
    }
}

/// The loss of one series in a gap.
///
/// ```
/// use iotpi_core::{Quantity, Timestamp, model::gap::{GapReason, NewGap, SeriesGap}};
///
/// let lost = SeriesGap::new(Quantity::Temperature, 3, Timestamp::MIN, Timestamp::MIN);
/// let gap = NewGap::new(1, 7, 9, GapReason::Full).with_series(vec![lost]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SeriesGap {
    /// The `{type}` of the series.
    #[serde(rename = "type")]
    pub kind: SensorType,
    /// The channel; absent for the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// The number of lost readings.
    pub lost: u64,
    /// The time of the first lost reading.
    pub since: Timestamp,
    /// The time of the last lost reading.
    pub until: Timestamp,
}

impl SeriesGap {
    /// The loss of `lost` readings of a series, measured from `since` to `until`, both included.
    #[must_use]
    pub fn new(series: impl Into<SeriesSpec>, lost: u64, since: Timestamp, until: Timestamp) -> Self {
        let SeriesSpec { quantity, channel } = series.into();
        Self { kind: quantity.name(), channel, lost, since, until }
    }
}

/// Lost readings as the hub lists them: one entry for each series in a gap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Gap {
    /// The module that lost the readings.
    pub module_id: ModuleId,
    /// The type of the series; absent if the module did not know it any more.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SensorType>,
    /// The channel; absent for the default one, or if the module did not know the series any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub channel: Option<Channel>,
    /// The time of the first lost reading, or of the report if the module did not know it.
    pub since: Timestamp,
    /// The time of the last lost reading.
    pub until: Timestamp,
    /// The number of lost readings.
    pub lost: u64,
    /// The reason for the loss.
    pub reason: GapReason,
    /// The time of the report.
    pub recorded_at: Timestamp,
}

impl Gap {
    /// The loss of `lost` readings of an unknown series of a module, from `since` to `until`, both included,
    /// reported at `recorded_at`.
    #[must_use]
    pub fn new(
        module_id: ModuleId,
        since: Timestamp,
        until: Timestamp,
        lost: u64,
        reason: GapReason,
        recorded_at: Timestamp,
    ) -> Self {
        Self { module_id, kind: None, channel: None, since, until, lost, reason, recorded_at }
    }

    /// Sets the series.
    #[must_use]
    pub fn with_series(mut self, kind: SensorType, channel: Option<Channel>) -> Self {
        (self.kind, self.channel) = (Some(kind), channel);
        self
    }
}

/// The delivery account of a module's numbered readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Delivery {
    /// The time at which the first numbered reading of the module arrived and the account began.
    pub since: Timestamp,
    /// The number of readings taken, by the greatest numbers that arrived or were reported lost.
    pub expected: u64,
    /// The number that arrived, each counted once.
    pub received: u64,
    /// The number that the module reported as lost.
    pub lost: u64,
    /// The number that has not arrived yet: still in the module, or lost with it.
    pub missing: u64,
}

impl Delivery {
    /// An account that began at this time. All numbers are 0.
    #[must_use]
    pub fn new(since: Timestamp) -> Self {
        Self { since, expected: 0, received: 0, lost: 0, missing: 0 }
    }
}

/// The delivery account of a module in full: `GET /api/modules/{id}/delivery`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct DeliveryAccount {
    /// The id of the module.
    pub module_id: ModuleId,
    /// All series together; null if the module does not number its readings.
    pub total: Option<Delivery>,
    /// One entry for each series, by type and channel.
    pub series: Vec<SeriesDelivery>,
}

impl DeliveryAccount {
    /// The account of a module.
    #[must_use]
    pub fn new(module_id: ModuleId, total: Option<Delivery>, series: Vec<SeriesDelivery>) -> Self {
        Self { module_id, total, series }
    }
}

/// The delivery account of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct SeriesDelivery {
    /// The `{type}` of the series.
    #[serde(rename = "type")]
    pub kind: SensorType,
    /// The channel; absent for the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub channel: Option<Channel>,
    /// The number of readings taken, as far as is known: received and lost.
    pub expected: u64,
    /// The number that arrived, each counted once.
    pub received: u64,
    /// The number that the module reported as lost.
    pub lost: u64,
}

impl SeriesDelivery {
    /// The account of a series of which `received` readings arrived and `lost` were lost.
    #[must_use]
    pub fn new(kind: SensorType, channel: Option<Channel>, received: u64, lost: u64) -> Self {
        Self { kind, channel, expected: received.saturating_add(lost), received, lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_gap_includes_both_ends() {
        let gap = NewGap { epoch: 1, first_seq: 7, last_seq: 9, reason: GapReason::Full, series: vec![] };

        assert_eq!(gap.lost(), 3);
    }
}
