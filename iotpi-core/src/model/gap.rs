//! Gaps: readings that were made and will not arrive, and the account of those that did.

use serde::{Deserialize, Serialize};

use crate::{
    model::id::{ModuleId, SensorType},
    time::Timestamp,
};

/// The most series one gap may name.
pub const MAX_GAP_SERIES: usize = 64;

/// Why readings that were made were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The outbox reached its limit of bytes or readings while the hub was away.
    Full,
    /// They waited longer than the outbox keeps readings.
    TooOld,
    /// The outbox could not be read back: a torn or rotten file.
    Unreadable,
    /// The hub would never have taken them.
    Refused,
    /// They waited in memory when the module was killed.
    Killed,
}

impl GapReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Full, Self::TooOld, Self::Unreadable, Self::Refused, Self::Killed];

    /// The reason's wire word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TooOld => "too_old",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused",
            Self::Killed => "killed",
        }
    }
}

/// A module says that readings of these numbers will never come: the body of `POST /api/modules/{id}/gaps`.
///
/// The same gap said twice is one: it is known by its epoch and first number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewGap {
    /// Which count of the module the numbers belong to.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub epoch: u64,
    /// The first number lost.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub first_seq: u64,
    /// The last number lost; all between are lost too.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub last_seq: u64,
    /// Why.
    pub reason: GapReason,
    /// What was lost of each series, as far as the module still knows; up to 64.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub series: Vec<SeriesGap>,
}

impl NewGap {
    /// How many readings were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.last_seq.saturating_sub(self.first_seq).saturating_add(1)
    }
}

/// What a gap took of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SeriesGap {
    /// The `{type}` of the series.
    #[serde(rename = "type")]
    pub kind: SensorType,
    /// How many readings of it.
    pub lost: u64,
    /// When the first of them was taken.
    pub since: Timestamp,
    /// When the last of them was taken.
    pub until: Timestamp,
}

/// Readings that will never arrive, as the hub lists them: one for each series a gap took something of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Gap {
    /// Whose.
    pub module_id: ModuleId,
    /// Of which series; absent when the module did not know any more.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SensorType>,
    /// When the first of them was taken; when it was told, if the module did not know.
    pub since: Timestamp,
    /// When the last of them was taken.
    pub until: Timestamp,
    /// How many.
    pub lost: u64,
    /// Why.
    pub reason: GapReason,
    /// When the hub was told.
    pub recorded_at: Timestamp,
}

/// How many of a module's numbered readings arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delivery {
    /// When the first numbered reading of the module arrived: the account begins there.
    pub since: Timestamp,
    /// How many readings the module made, by the greatest numbers that arrived or were reported lost.
    pub expected: u64,
    /// How many of them arrived, each counted once.
    pub received: u64,
    /// How many of them will never arrive, by the module's own word.
    pub lost: u64,
    /// How many of them have not arrived yet: they wait in the module, or vanished with it.
    pub missing: u64,
}

/// A module's account in full: `GET /api/modules/{id}/delivery`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeliveryAccount {
    /// Whose.
    pub module_id: ModuleId,
    /// All series together; null when the module does not number its readings.
    pub total: Option<Delivery>,
    /// Series by series, by type.
    pub series: Vec<SeriesDelivery>,
}

/// The account of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SeriesDelivery {
    /// The `{type}` of the series.
    #[serde(rename = "type")]
    pub kind: SensorType,
    /// How many readings were made, as far as is known: received and lost.
    pub expected: u64,
    /// How many numbered ones arrived, each counted once.
    pub received: u64,
    /// How many will never arrive, by the module's own word.
    pub lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reasons_word_is_its_wire_form() {
        for reason in GapReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }

    #[test]
    fn a_gap_counts_both_its_ends() {
        let gap = NewGap { epoch: 1, first_seq: 7, last_seq: 9, reason: GapReason::Full, series: vec![] };

        assert_eq!(gap.lost(), 3);
    }
}
