//! Quantities, samples, readings and aggregates.

pub use super::{
    channel_filter::ChannelFilter,
    new_reading::{BooleanWithUnit, MAX_AGE_SECS, NewReading, NewReadings, Stored},
    quantity::Quantity,
};

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct as _};

use crate::{
    model::{
        id::{Channel, ModuleId, SensorType},
        unit::Unit,
        word::words,
    },
    time::Timestamp,
};

/// The maximum length of the reason of [`Outcome::NoData`] in characters; longer ones are truncated.
pub const MAX_REASON_LEN: usize = 200;

/// The outcome of a measurement. A failed one is stored, too, and shown as a gap in charts.
///
/// ```
/// use iotpi_core::Outcome;
///
/// assert_eq!(Outcome::of(21.5).value(), Some(21.5));
/// assert_eq!(Outcome::of(f64::NAN).reason(), Some("not a finite number"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A finite number in the quantity's unit.
    Value(f64),
    /// The measurement failed for this reason.
    NoData(String),
}

impl Outcome {
    /// The value, if the measurement succeeded.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(*value),
            Self::NoData(_) => None,
        }
    }

    /// The reason, if the measurement failed.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Value(_) => None,
            Self::NoData(reason) => Some(reason),
        }
    }

    /// The outcome with this value, or without one if it is not finite.
    #[must_use]
    pub fn of(value: f64) -> Self {
        if value.is_finite() { Self::Value(value) } else { Self::NoData("not a finite number".to_owned()) }
    }

    /// A failed measurement; the reason is truncated at [`MAX_REASON_LEN`] characters.
    #[must_use]
    pub fn no_data(reason: impl std::fmt::Display) -> Self {
        Self::NoData(reason.to_string().chars().take(MAX_REASON_LEN).collect())
    }
}

/// One series of a module: a quantity, and a channel if the module has several sensors of that quantity.
///
/// ```
/// use iotpi_core::{Quantity, model::reading::SeriesSpec};
///
/// let supply = SeriesSpec::new(Quantity::Temperature).with_channel("supply".parse()?);
/// assert_eq!(SeriesSpec::from(Quantity::Motion).channel, None);
/// # Ok::<(), iotpi_core::model::id::InvalidId>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SeriesSpec {
    /// The measured quantity.
    pub quantity: Quantity,
    /// The channel; `None` for the default one.
    pub channel: Option<Channel>,
}

impl SeriesSpec {
    /// A quantity on the default channel.
    #[must_use]
    pub fn new(quantity: Quantity) -> Self {
        Self { quantity, channel: None }
    }

    /// Sets the channel.
    #[must_use]
    pub fn with_channel(mut self, channel: Channel) -> Self {
        self.channel = Some(channel);
        self
    }
}

impl From<Quantity> for SeriesSpec {
    fn from(quantity: Quantity) -> Self {
        Self::new(quantity)
    }
}

impl From<&Quantity> for SeriesSpec {
    fn from(quantity: &Quantity) -> Self {
        Self::new(quantity.clone())
    }
}

/// One measurement as a sensor returns it. The runner adds the module and the time.
///
/// ```
/// use iotpi_core::{Outcome, Quantity, Sample};
///
/// let sample = Sample::new(Quantity::Temperature, 21.5).with_channel("supply".parse()?);
/// let failed = Sample::no_data(Quantity::Temperature, "no answer on the bus");
/// assert_eq!(sample.outcome, Outcome::Value(21.5));
/// assert_eq!(failed.outcome.reason(), Some("no answer on the bus"));
/// # Ok::<(), iotpi_core::model::id::InvalidId>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// The measured quantity.
    pub quantity: Quantity,
    /// The channel, if the module has several sensors of this quantity.
    pub channel: Option<Channel>,
    /// The value in the quantity's unit, or the reason for its absence.
    pub outcome: Outcome,
}

impl Sample {
    /// A sample with this outcome, in the quantity's unit.
    #[must_use]
    pub fn of(series: impl Into<SeriesSpec>, outcome: Outcome) -> Self {
        let SeriesSpec { quantity, channel } = series.into();
        Self { quantity, channel, outcome }
    }

    /// A successful sample, in the quantity's unit.
    #[must_use]
    pub fn new(series: impl Into<SeriesSpec>, value: f64) -> Self {
        Self::of(series, Outcome::of(value))
    }

    /// A failed sample.
    #[must_use]
    pub fn no_data(series: impl Into<SeriesSpec>, reason: impl std::fmt::Display) -> Self {
        Self::of(series, Outcome::no_data(reason))
    }

    /// Sets the channel.
    #[must_use]
    pub fn with_channel(mut self, channel: Channel) -> Self {
        self.channel = Some(channel);
        self
    }
}

/// One measurement of one series, as it is stored and sent.
///
/// ```
/// use iotpi_core::{Reading, Quantity, Outcome};
///
/// let wire = r#"{"module_id":"attic","type":"temperature","value":21.5,"unit":"celsius","timestamp":1795473000.25}"#;
/// let reading: Reading = serde_json::from_str(wire)?;
/// assert_eq!(reading.quantity, Quantity::Temperature);
/// assert_eq!(reading.outcome, Outcome::Value(21.5));
/// assert_eq!(serde_json::to_string(&reading)?, wire);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "ReadingRecord")]
#[non_exhaustive]
pub struct Reading {
    /// The module that measured it.
    pub module_id: ModuleId,
    /// The measured quantity; with `module_id` and `channel` it identifies the series.
    pub quantity: Quantity,
    /// The channel; `None` for the default one.
    pub channel: Option<Channel>,
    /// The outcome of the measurement.
    pub outcome: Outcome,
    /// The time of the measurement by the module's clock.
    pub taken_at: Timestamp,
    /// The time of arrival at the hub, by the hub's clock to the millisecond; `None` before that.
    pub received_at: Option<Timestamp>,
    /// The clock of `taken_at`.
    pub time_source: TimeSource,
    /// The sequence number, if the module numbers its readings. It is not stored with the reading, so
    /// readings from a hub have none.
    pub number: Option<SeqNo>,
}

impl Reading {
    /// A reading of a module, not yet received and without a number.
    #[must_use]
    pub fn new(module_id: ModuleId, sample: Sample, taken_at: Timestamp) -> Self {
        Self {
            module_id,
            quantity: sample.quantity,
            channel: sample.channel,
            outcome: sample.outcome,
            taken_at,
            received_at: None,
            time_source: TimeSource::Module,
            number: None,
        }
    }

    /// Sets the outcome.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Sets the time of the measurement.
    #[must_use]
    pub fn with_taken_at(mut self, taken_at: Timestamp) -> Self {
        self.taken_at = taken_at;
        self
    }

    /// Sets the time of arrival at the hub.
    #[must_use]
    pub fn with_received_at(mut self, received_at: Timestamp) -> Self {
        self.received_at = Some(received_at);
        self
    }

    /// Sets the clock of `taken_at`.
    #[must_use]
    pub fn with_time_source(mut self, time_source: TimeSource) -> Self {
        self.time_source = time_source;
        self
    }

    /// Sets the sequence number.
    #[must_use]
    pub fn with_number(mut self, number: SeqNo) -> Self {
        self.number = Some(number);
        self
    }
}

/// The maximum of epochs and sequence numbers, 2^53 - 1: the numbers of every language represent it exactly.
pub const MAX_SEQ: u64 = (1 << 53) - 1;

/// The number that a module assigns to a reading before it first sends it. A hub stores a reading once,
/// however often it is sent.
///
/// ```
/// use iotpi_core::model::reading::SeqNo;
///
/// assert!(SeqNo { epoch: 7, seq: 1 } < SeqNo { epoch: 7, seq: 2 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeqNo {
    /// The epoch, 1 to [`MAX_SEQ`]: drawn at random when a module begins a new numbering (a new outbox).
    pub epoch: u64,
    /// The number within the epoch, 1 to [`MAX_SEQ`]: 1 for the first reading, then one more each.
    pub seq: u64,
}

words! {
    /// The source of a reading's time.
    #[derive(Default)]
    TimeSource {
        /// The module's wall clock.
        #[default]
        Module = "module",
        /// The hub's clock at arrival minus the reading's age: the module's wall clock was never set.
        Estimated = "estimated",
        /// The hub's clock at arrival: the reading had no time.
        Hub = "hub",
        /// The hub's clock at arrival: the module's time was more than 5 minutes ahead of the hub's clock.
        Arrival = "arrival",
        /// The hub's clock at arrival, which was wrong: it was later corrected by more than 5 minutes.
        HubUnsynced = "hub_unsynced",
    }
}

impl TimeSource {
    /// Whether it is the module's own clock, the default, which is omitted on the wire.
    #[allow(clippy::trivially_copy_pass_by_ref)] // Serde calls it.
    pub(crate) fn is_module(&self) -> bool {
        *self == Self::Module
    }
}

/// A reading in its wire format.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Reading))]
pub struct ReadingRecord {
    module_id: ModuleId,
    /// The type of the reading; with `module_id` and `channel` it identifies the series.
    #[serde(rename = "type")]
    kind: SensorType,
    /// The channel; absent for the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    channel: Option<Channel>,
    /// A finite number, or null for a measurement that failed.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    value: Option<f64>,
    unit: Unit,
    /// The time of the measurement by the module's clock; Unix seconds.
    timestamp: Timestamp,
    /// The time of arrival at the hub; Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    received_at: Option<Timestamp>,
    /// With a null value: the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The clock of `timestamp`; the module's if absent.
    #[serde(default, skip_serializing_if = "TimeSource::is_module")]
    time_source: TimeSource,
}

/// Serializes a [`ReadingRecord`] without the copies of creating one: pages of a hundred readings are
/// frequent.
impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("Reading", 9)?;
        record.serialize_field("module_id", self.module_id.as_str())?;
        record.serialize_field("type", self.quantity.name_str())?;
        if let Some(channel) = &self.channel {
            record.serialize_field("channel", channel.as_str())?;
        }
        record.serialize_field("value", &self.outcome.value())?;
        record.serialize_field("unit", self.quantity.unit().as_str())?;
        record.serialize_field("timestamp", &self.taken_at)?;
        if let Some(received_at) = &self.received_at {
            record.serialize_field("received_at", received_at)?;
        }
        if let Some(reason) = self.outcome.reason() {
            record.serialize_field("reason", reason)?;
        }
        if !self.time_source.is_module() {
            record.serialize_field("time_source", &self.time_source)?;
        }
        record.end()
    }
}

impl TryFrom<ReadingRecord> for Reading {
    type Error = IncompatibleUnit;

    fn try_from(wire: ReadingRecord) -> Result<Self, IncompatibleUnit> {
        let quantity = Quantity::new(wire.kind, wire.unit.clone());
        let outcome = outcome(&quantity, wire.value, Some(&wire.unit), wire.reason)?;
        Ok(Self {
            module_id: wire.module_id,
            quantity,
            channel: wire.channel,
            outcome,
            taken_at: wire.timestamp,
            received_at: wire.received_at,
            time_source: wire.time_source,
            number: None,
        })
    }
}

/// The unit of a value measures another quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct IncompatibleUnit {
    quantity: SensorType,
    unit: Unit,
    alternatives: Vec<String>,
}

impl IncompatibleUnit {
    fn text(&self) -> String {
        let Self { quantity, unit, alternatives } = self;
        let alternatives = alternatives.join(", ");
        if *unit == Unit::BOOLEAN {
            format!("{quantity} is not measured as true or false; send a number in {alternatives}")
        } else {
            format!("{quantity} cannot be measured in `{unit}`; use {alternatives}")
        }
    }
}

pub(crate) fn outcome(
    quantity: &Quantity,
    value: Option<f64>,
    unit: Option<&Unit>,
    reason: Option<String>,
) -> Result<Outcome, IncompatibleUnit> {
    let canonical = quantity.unit();
    let incompatible = |unit: &Unit| IncompatibleUnit {
        quantity: quantity.name(),
        unit: unit.clone(),
        alternatives: canonical.alternatives().into_iter().map(str::to_owned).collect(),
    };
    let unit = unit.unwrap_or(&canonical);
    let converted = canonical.of(value.unwrap_or(0.0), unit).ok_or_else(|| incompatible(unit))?;
    Ok(match value {
        Some(_) => Outcome::of(converted),
        None => Outcome::no_data(reason.unwrap_or_else(|| "no reason given".to_owned())),
    })
}

/// Readings of one series, aggregated over one UTC-aligned interval.
///
/// ```
/// use iotpi_core::{Quantity, Timestamp, model::reading::Bucket};
///
/// let empty = Bucket::new("attic".parse()?, Quantity::Temperature, Timestamp::MIN);
/// assert_eq!((empty.unit.as_str(), empty.missing, empty.avg), ("celsius", 0, None));
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Bucket {
    /// The module that measured them.
    pub module_id: ModuleId,
    /// The type of the readings.
    #[serde(rename = "type")]
    pub kind: SensorType,
    /// The channel; absent for the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub channel: Option<Channel>,
    /// The unit of `avg`, `min` and `max`.
    pub unit: Unit,
    /// The start of the interval, Unix seconds.
    pub start: Timestamp,
    /// The mean of the values; absent if there are none or if it was not requested, as are the next three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg: Option<f64>,
    /// The minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The number of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The number of failed measurements.
    pub missing: u64,
}

impl Bucket {
    /// The aggregate of no readings of this series in the interval that begins at `start`.
    #[must_use]
    pub fn new(module_id: ModuleId, series: impl Into<SeriesSpec>, start: Timestamp) -> Self {
        let SeriesSpec { quantity, channel } = series.into();
        Self {
            module_id,
            kind: quantity.name(),
            channel,
            unit: quantity.unit(),
            start,
            avg: None,
            min: None,
            max: None,
            count: None,
            missing: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> Result<Reading, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn a_reading_is_serialized_as_documented() {
        for text in [
            r#"{"module_id":"a","type":"soil","value":1.5,"unit":"bunches","timestamp":1795473000.0,"received_at":1795473001.0}"#,
            r#"{"module_id":"a","type":"soil","value":null,"unit":"bunches","timestamp":1795473000.0,"reason":"no ack","time_source":"hub"}"#,
            r#"{"module_id":"a","type":"soil","channel":"bed-2","value":1.5,"unit":"bunches","timestamp":1795473000.0}"#,
        ] {
            let record: ReadingRecord = serde_json::from_str(text).unwrap();

            assert_eq!(serde_json::to_string(&record).unwrap(), text);
            assert_eq!(serde_json::to_string(&wire(text).unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn a_known_unit_is_converted() {
        let reading =
            wire(r#"{"module_id":"a","type":"temperature","value":212,"unit":"fahrenheit","timestamp":1795473000}"#)
                .unwrap();

        assert_eq!(reading.outcome.value(), Some(100.0));
        assert_eq!(serde_json::to_value(&reading).unwrap()["unit"], "celsius");
    }

    #[test]
    fn a_unit_of_another_quantity_is_refused_with_the_possible_ones() {
        let error = wire(
            r#"{"module_id":"a","type":"temperature","value":1,"unit":"bananas","timestamp":1795473000}"#,
        )
        .unwrap_err()
        .to_string();

        assert!(
            error.contains("temperature cannot be measured in `bananas`; use celsius, kelvin, fahrenheit"),
            "{error}"
        );
    }

    #[test]
    fn a_failed_measurement_keeps_its_reason() {
        let text = r#"{"module_id":"a","type":"soil","value":null,"unit":"bunches","timestamp":1795473000.0,"reason":"no ack"}"#;

        let reading = wire(text).unwrap();

        assert_eq!(reading.outcome, Outcome::NoData("no ack".to_owned()));
        assert_eq!(serde_json::to_string(&reading).unwrap(), text);
    }
}
