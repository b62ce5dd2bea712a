//! Readings on their way to a hub: what may be left out, and what became of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    IncompatibleUnit, ModuleId, Quantity, Reading, SensorType, SeqNo, TimeSource, Timestamp, Unit,
    reading::outcome,
};

/// One measurement as anybody may send it: what a hub can fill in may be left out.
///
/// This is the body of `POST /api/sensors/{type}`; `requests.post` with the four fields of the documentation is enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewReading {
    /// Whose it is.
    pub module_id: ModuleId,
    /// What was measured; must equal the path's when there is one.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SensorType>,
    /// A finite number, or null for a measurement that failed.
    // With a function of its own a field has to be there, also when it may be null.
    #[serde(deserialize_with = "Option::deserialize")]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub value: Option<f64>,
    /// A unit word, UCUM or SenML code; without it the series' unit is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// When it was measured, Unix seconds or RFC 3339; without it, the moment of arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// As read back from the hub; ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// With a null value: why, up to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 200))]
    pub reason: Option<String>,
    /// With `seq`: which count of the module `seq` belongs to. A reading that was stored under the same module, epoch and
    /// seq before is not stored again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub epoch: Option<u64>,
    /// With `epoch`: the number the module gave this reading before it first sent it; 1, then one more each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub seq: Option<u64>,
    /// In place of `timestamp`, from a module whose wall clock was never set: seconds since it was measured, 0 to
    /// 31,622,400 (a year). The hub places it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 31_622_400))]
    pub age: Option<f64>,
    /// As read back from the hub: whose clock `timestamp` goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_source: Option<TimeSource>,
}

/// The greatest [`NewReading::age`], in seconds: 366 days.
pub const MAX_AGE_SECS: f64 = 31_622_400.0;

impl NewReading {
    /// A value, or null for a measurement that failed, of a module; all else is left to the hub.
    #[must_use]
    pub fn new(module_id: ModuleId, value: Option<f64>) -> Self {
        Self {
            module_id,
            kind: None,
            value,
            unit: None,
            timestamp: None,
            received_at: None,
            reason: None,
            epoch: None,
            seq: None,
            age: None,
            time_source: None,
        }
    }

    /// Becomes a reading of the given quantity, received now: the value is converted into the quantity's unit, and a
    /// reading without a time gets one.
    ///
    /// # Errors
    /// [`IncompatibleUnit`] when the unit measures something else.
    pub fn received(self, quantity: Quantity, now: Timestamp) -> Result<Reading, IncompatibleUnit> {
        let outcome = outcome(&quantity, self.value, self.unit.as_ref(), self.reason)?;
        let (taken_at, time_source) = match (self.timestamp, self.age) {
            (Some(timestamp), _) => (timestamp, self.time_source.unwrap_or_default()),
            (None, Some(age)) => {
                let age = Duration::try_from_secs_f64(age).unwrap_or_default();
                (now.minus(age), TimeSource::Estimated)
            }
            (None, None) => (now, TimeSource::Hub),
        };
        Ok(Reading {
            module_id: self.module_id,
            quantity,
            outcome,
            taken_at,
            received_at: Some(now),
            time_source,
            number: self.epoch.zip(self.seq).map(|(epoch, seq)| SeqNo { epoch, seq }),
        })
    }
}

impl From<Reading> for NewReading {
    /// A reading as its module sends it.
    fn from(reading: Reading) -> Self {
        let unit = reading.quantity.unit();
        Self {
            kind: Some(reading.quantity.name()),
            value: reading.outcome.value(),
            unit: Some(unit),
            reason: reading.outcome.reason().map(str::to_owned),
            module_id: reading.module_id,
            timestamp: Some(reading.taken_at),
            received_at: None,
            epoch: reading.number.map(|n| n.epoch),
            seq: reading.number.map(|n| n.seq),
            age: None,
            time_source: Some(reading.time_source).filter(|source| !source.is_module()),
        }
    }
}

/// The body of `POST /api/sensors` and `/api/sensors/{type}`: one reading or up to 1,000 of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum NewReadings {
    /// A single one.
    One(NewReading),
    /// Stored whole or not at all.
    Many(Vec<NewReading>),
}

/// What the hub did with delivered readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stored {
    /// How many were new and are now on disk.
    pub stored: u64,
    /// How many had been stored before, by their numbers, and were not stored again.
    #[serde(default)]
    pub repeated: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_is_refused() {
        assert!(serde_json::from_str::<NewReading>(r#"{"module_id":"a","value":1,"timestmp":1}"#).is_err());
    }
}
