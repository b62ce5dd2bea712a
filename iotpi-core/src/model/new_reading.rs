//! Readings as clients send them: with optional fields, which the hub fills in.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    model::{
        id::{Channel, ModuleId, SensorType},
        reading::{IncompatibleUnit, Quantity, Reading, SeqNo, TimeSource, outcome},
        unit::Unit,
        word::known_or_null,
    },
    time::{Timestamp, duration},
};

/// A reading as a client sends it. Fields that a hub can fill in are optional.
///
/// This is the body of `POST /api/sensors/{type}`; the four fields of the documentation's `requests.post` are
/// enough.
///
/// ```
/// use std::time::Duration;
/// use iotpi_core::{Unit, model::reading::NewReading};
///
/// let soil = NewReading::new("garden".parse()?, Some(41.0))
///     .with_type("soil".parse()?)
///     .with_unit(Unit::PERCENT)
///     .with_age(Duration::from_secs(2));
/// # Ok::<(), iotpi_core::model::id::InvalidId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
// `Wire` refuses unknown fields; this attribute adds it to the schema.
#[serde(try_from = "Wire", deny_unknown_fields)]
#[non_exhaustive]
pub struct NewReading {
    /// The module that measured it.
    pub module_id: ModuleId,
    /// The type of the reading; must match the type in the path, if there is one.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SensorType>,
    /// The channel, if the module has several sensors of this type; absent for the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// A finite number, or null for a measurement that failed. On the wire also true or false for 1 or 0;
    /// without a unit these have the unit `boolean`.
    #[cfg_attr(feature = "openapi", schema(required = true, schema_with = value_schema))]
    pub value: Option<f64>,
    /// The word, code or symbol of a unit; by default the unit of the series. The first reading of a custom
    /// type must have one; `1` means no unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// The time of the measurement, Unix seconds or RFC 3339; by default the time of arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// Ignored, so that a reading returned by a hub can be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// With a null value: the reason, up to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 200))]
    pub reason: Option<String>,
    /// With `seq`: the epoch that the number belongs to. A reading that was stored with the same module,
    /// epoch and seq is not stored again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub epoch: Option<u64>,
    /// With `epoch`: the number of this reading, assigned before it was first sent: 1, 2, 3, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub seq: Option<u64>,
    /// Instead of `timestamp`, from a module whose wall clock was never set: the seconds since the
    /// measurement, 0 to 31,622,400 (a year). The hub computes the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 31_622_400))]
    pub age: Option<f64>,
    /// The clock of `timestamp`, in a reading returned by a hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_source: Option<TimeSource>,
}

/// A [`NewReading`] as it is deserialized: the value may be true or false.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    module_id: ModuleId,
    #[serde(rename = "type", default)]
    kind: Option<SensorType>,
    #[serde(default)]
    channel: Option<Channel>,
    // A custom function requires the field, even though it may be null.
    #[serde(deserialize_with = "Option::deserialize")]
    value: Option<NumberOrBool>,
    #[serde(default)]
    unit: Option<Unit>,
    #[serde(default)]
    timestamp: Option<Timestamp>,
    #[serde(default)]
    received_at: Option<Timestamp>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    epoch: Option<u64>,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    age: Option<f64>,
    #[serde(default, deserialize_with = "known_or_null")]
    time_source: Option<TimeSource>,
}

/// A boolean value has a unit that does not accept one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`value` is true or false, which has no unit `{unit}`: send a number, or omit `unit`")]
pub struct BooleanWithUnit {
    unit: Unit,
}

impl TryFrom<Wire> for NewReading {
    type Error = BooleanWithUnit;

    fn try_from(wire: Wire) -> Result<Self, BooleanWithUnit> {
        let (value, unit) = match (wire.value, wire.unit) {
            (Some(NumberOrBool::Truth(_)), Some(unit)) if !unit.is_plain_number() => {
                return Err(BooleanWithUnit { unit });
            }
            (Some(NumberOrBool::Truth(truth)), unit) => {
                (Some(f64::from(u8::from(truth))), Some(unit.unwrap_or(Unit::BOOLEAN)))
            }
            (Some(NumberOrBool::Number(number)), unit) => (Some(number), unit),
            (None, unit) => (None, unit),
        };
        let Wire {
            module_id,
            kind,
            channel,
            timestamp,
            received_at,
            reason,
            epoch,
            seq,
            age,
            time_source,
            ..
        } = wire;
        Ok(Self {
            module_id,
            kind,
            channel,
            value,
            unit,
            timestamp,
            received_at,
            reason,
            epoch,
            seq,
            age,
            time_source,
        })
    }
}

enum NumberOrBool {
    Number(f64),
    Truth(bool),
}

impl<'de> Deserialize<'de> for NumberOrBool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        #[allow(clippy::cast_precision_loss)]
        impl de::Visitor<'_> for Visitor {
            type Value = NumberOrBool;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, true, false, or null for a failed measurement")
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<NumberOrBool, E> {
                Ok(NumberOrBool::Number(number))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<NumberOrBool, E> {
                Ok(NumberOrBool::Number(number as f64))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<NumberOrBool, E> {
                Ok(NumberOrBool::Number(number as f64))
            }

            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<NumberOrBool, E> {
                Ok(NumberOrBool::Truth(truth))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<NumberOrBool, E> {
                Err(E::custom(text_in_place_of_a_number(text)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The advice for a text value.
fn text_in_place_of_a_number(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    let number = text.trim().replace(',', ".").parse::<f64>().ok().filter(|number| number.is_finite());
    let advice = match (text.trim().to_ascii_lowercase().as_str(), number) {
        (_, Some(number)) => format!("send the number without quotation marks, {number}"),
        ("true" | "on" | "yes" | "open" | "opened" | "detected", _) => "send true or 1".to_owned(),
        ("false" | "off" | "no" | "closed" | "close" | "clear", _) => "send false or 0".to_owned(),
        ("nan" | "null" | "none" | "unavailable" | "unknown" | "error" | "", _) => {
            "send null, with a `reason`, for a failed measurement".to_owned()
        }
        _ => "send a number, true, false, or null for a failed measurement".to_owned(),
    };
    format!("`value` is the text \"{shown}\": {advice}")
}

#[cfg(feature = "openapi")]
fn value_schema() -> utoipa::openapi::schema::Schema {
    use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

    let types = SchemaType::from_iter([Type::Number, Type::Boolean, Type::Null]);
    let description = "A finite number, true or false (1 and 0; without a unit they mean the unit `boolean`), or null for a \
                       measurement that failed.";
    ObjectBuilder::new().schema_type(types).description(Some(description)).into()
}

/// The maximum of [`NewReading::age`] in seconds: 366 days.
pub const MAX_AGE_SECS: f64 = 31_622_400.0;

impl NewReading {
    /// A reading with a value, or null for a measurement that failed. The hub fills in the rest.
    #[must_use]
    pub fn new(module_id: ModuleId, value: Option<f64>) -> Self {
        Self {
            module_id,
            kind: None,
            channel: None,
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

    /// Sets the type.
    #[must_use]
    pub fn with_type(mut self, kind: SensorType) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Sets the channel.
    #[must_use]
    pub fn with_channel(mut self, channel: Channel) -> Self {
        self.channel = Some(channel);
        self
    }

    /// Sets the unit of the value.
    #[must_use]
    pub fn with_unit(mut self, unit: Unit) -> Self {
        self.unit = Some(unit);
        self
    }

    /// Sets the time of the measurement.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Sets the time since the measurement, instead of its timestamp: at most [`MAX_AGE_SECS`].
    #[must_use]
    pub fn with_age(mut self, age: Duration) -> Self {
        self.age = Some(age.as_secs_f64());
        self
    }

    /// The time since the measurement, if it was set instead of a timestamp.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.age.map(duration)
    }

    /// Sets the reason of a failed measurement.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Sets the sequence number.
    #[must_use]
    pub fn with_number(mut self, number: SeqNo) -> Self {
        (self.epoch, self.seq) = (Some(number.epoch), Some(number.seq));
        self
    }

    /// Converts it to a reading of this quantity, received now: converts the value to the quantity's unit and
    /// sets a missing time.
    ///
    /// # Errors
    /// [`IncompatibleUnit`] if the unit measures something else.
    pub fn received(self, quantity: Quantity, now: Timestamp) -> Result<Reading, IncompatibleUnit> {
        let age = self.age();
        let outcome = outcome(&quantity, self.value, self.unit.as_ref(), self.reason)?;
        let (taken_at, time_source) = match (self.timestamp, age) {
            (Some(timestamp), _) => (timestamp, self.time_source.unwrap_or_default()),
            (None, Some(age)) => (now.minus(age), TimeSource::Estimated),
            (None, None) => (now, TimeSource::Hub),
        };
        Ok(Reading {
            module_id: self.module_id,
            quantity,
            channel: self.channel,
            outcome,
            taken_at,
            received_at: Some(now),
            time_source,
            number: self.epoch.zip(self.seq).map(|(epoch, seq)| SeqNo { epoch, seq }),
        })
    }
}

impl From<Reading> for NewReading {
    /// A reading in the form in which its module sends it.
    fn from(reading: Reading) -> Self {
        let unit = reading.quantity.unit();
        Self {
            kind: Some(reading.quantity.name()),
            channel: reading.channel,
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
///
/// ```
/// use iotpi_core::model::reading::NewReadings;
///
/// let one: NewReadings = serde_json::from_str(r#"{"module_id":"attic","value":21.5}"#)?;
/// assert!(matches!(one, NewReadings::One(_)));
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
#[non_exhaustive]
pub enum NewReadings {
    /// A single reading.
    One(NewReading),
    /// An array, which is stored as a whole or not at all.
    Many(Vec<NewReading>),
}

/// The hub's answer to delivered readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Stored {
    /// The number of readings that were new and are now on disk.
    pub stored: u64,
    /// The number of readings that had been stored before, by their sequence numbers.
    #[serde(default)]
    pub repeated: u64,
}

impl Stored {
    /// The numbers of new and of repeated readings.
    #[must_use]
    pub fn new(stored: u64, repeated: u64) -> Self {
        Self { stored, repeated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &str) -> Result<NewReading, String> {
        let text = format!(r#"{{"module_id":"a",{fields}}}"#);
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        assert!(read(r#""value":1,"timestmp":1"#).is_err());
        assert!(read(r#""unit":"celsius""#).is_err());
    }

    #[test]
    fn true_and_false_are_one_and_zero_with_the_unit_boolean() {
        let taken = |fields| read(fields).map(|new| (new.value, new.unit)).unwrap();

        assert_eq!(taken(r#""value":true"#), (Some(1.0), Some(Unit::BOOLEAN)));
        assert_eq!(taken(r#""value":false"#), (Some(0.0), Some(Unit::BOOLEAN)));
        assert_eq!(taken(r#""value":true,"unit":"count""#), (Some(1.0), Some(Unit::COUNT)));
        assert_eq!(taken(r#""value":true,"unit":"1""#), (Some(1.0), Some(Unit::NONE)));
        assert_eq!(taken(r#""value":null"#), (None, None));
        let error = read(r#""value":true,"unit":"celsius""#).unwrap_err();
        assert!(error.contains("true or false") && error.contains("celsius"), "{error}");
    }

    #[test]
    fn a_text_is_refused_with_a_hint_what_to_send() {
        for (text, advice) in [
            ("21.5", "without quotation marks, 21.5"),
            ("21,5", "without quotation marks, 21.5"),
            ("on", "true or 1"),
            ("OFF", "false or 0"),
            ("unavailable", "null"),
            ("NaN", "null"),
            ("warm", "a number"),
        ] {
            let error = read(&format!(r#""value":"{text}""#)).unwrap_err();

            assert!(error.contains(advice), "{text}: {error}");
        }
    }
}
