//! What was measured, by whom, when: quantities, samples and readings.

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct as _};

use crate::{
    model::{
        id::{ModuleId, SensorType},
        unit::Unit,
    },
    time::Timestamp,
};

/// The most characters of a [`Outcome::NoData`] reason that are kept.
pub const MAX_REASON_LEN: usize = 200;

/// What is measured, with its one canonical unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Quantity {
    /// Degrees Celsius.
    Temperature,
    /// Relative humidity in per cent, 0 to 100.
    Humidity,
    /// Pascal.
    Pressure,
    /// Lux.
    Illuminance,
    /// Volt.
    Voltage,
    /// Ampere.
    Current,
    /// Watt.
    Power,
    /// Metre.
    Distance,
    /// Carbon dioxide in parts per million.
    Co2,
    /// 1 while something moves, 0 while nothing does.
    Motion,
    /// Anything else, in the unit it says.
    Custom {
        /// The `{type}` of its series.
        name: SensorType,
        /// The unit its series is kept in.
        unit: Unit,
    },
}

/// The named quantities: variant, wire name, canonical unit.
static NAMED: &[(Quantity, &str, Unit)] = &[
    (Quantity::Temperature, "temperature", Unit::CELSIUS),
    (Quantity::Humidity, "humidity", Unit::PERCENT),
    (Quantity::Pressure, "pressure", Unit::PASCAL),
    (Quantity::Illuminance, "illuminance", Unit::LUX),
    (Quantity::Voltage, "voltage", Unit::VOLT),
    (Quantity::Current, "current", Unit::AMPERE),
    (Quantity::Power, "power", Unit::WATT),
    (Quantity::Distance, "distance", Unit::METRE),
    (Quantity::Co2, "co2", Unit::PPM),
    (Quantity::Motion, "motion", Unit::BOOLEAN),
];

impl Quantity {
    /// The quantity of that wire name, if it is a named one.
    #[must_use]
    pub fn named(name: &SensorType) -> Option<Self> {
        NAMED.iter().find(|(_, n, _)| *n == name.as_str()).map(|(q, _, _)| q.clone())
    }

    /// The quantity of that wire name: a named one, else a custom one in `unit`.
    #[must_use]
    pub fn new(name: SensorType, unit: Unit) -> Self {
        Self::named(&name).unwrap_or(Self::Custom { name, unit })
    }

    /// Its wire name, the `{type}` of `/api/sensors/{type}`.
    ///
    /// # Panics
    /// Never: the names of the table are ids, which a test checks.
    #[must_use]
    #[allow(clippy::missing_panics_doc)]
    pub fn name(&self) -> SensorType {
        match self {
            Self::Custom { name, .. } => name.clone(),
            named => SensorType::new(named.name_str()).expect("names in the table are ids"),
        }
    }

    /// The same as plain text.
    #[must_use]
    pub fn name_str(&self) -> &str {
        match self {
            Self::Custom { name, .. } => name.as_str(),
            named => NAMED.iter().find(|(q, _, _)| q == named).map_or("custom", |(_, name, _)| name),
        }
    }

    /// The unit its values are in.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match self {
            Self::Custom { unit, .. } => unit.clone(),
            named => NAMED.iter().find(|(q, _, _)| q == named).map_or(Unit::COUNT, |(_, _, u)| u.clone()),
        }
    }
}

/// How one measurement ended. Absence is data: a read that failed is stored as such and shown as a gap.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A finite number in the quantity's unit.
    Value(f64),
    /// The measurement was tried and failed, and why.
    NoData(String),
}

impl Outcome {
    /// The number, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(*value),
            Self::NoData(_) => None,
        }
    }

    /// Why there is no number, if there is none.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Value(_) => None,
            Self::NoData(reason) => Some(reason),
        }
    }

    /// A value, or the absence of one when it is not finite.
    #[must_use]
    pub fn of(value: f64) -> Self {
        if value.is_finite() { Self::Value(value) } else { Self::NoData("not a finite number".to_owned()) }
    }

    /// The absence of a value; the reason is cut at [`MAX_REASON_LEN`] characters.
    #[must_use]
    pub fn no_data(reason: impl std::fmt::Display) -> Self {
        Self::NoData(reason.to_string().chars().take(MAX_REASON_LEN).collect())
    }
}

/// One measurement as a sensor returns it: what, and how it ended. The runner adds whose and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What was measured.
    pub quantity: Quantity,
    /// The value in the quantity's unit, or why there is none.
    pub outcome: Outcome,
}

impl Sample {
    /// A sample that has a value, in the quantity's unit.
    #[must_use]
    pub fn new(quantity: Quantity, value: f64) -> Self {
        Self { quantity, outcome: Outcome::of(value) }
    }

    /// A sample that failed.
    #[must_use]
    pub fn no_data(quantity: Quantity, reason: impl std::fmt::Display) -> Self {
        Self { quantity, outcome: Outcome::no_data(reason) }
    }
}

/// One measurement of one series, as it is stored and as it travels.
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
pub struct Reading {
    /// Whose it is.
    pub module_id: ModuleId,
    /// What was measured; with `module_id` it names the series.
    pub quantity: Quantity,
    /// How the measurement ended.
    pub outcome: Outcome,
    /// When it was measured, by the module's clock.
    pub taken_at: Timestamp,
    /// When the hub took it in, by the hub's clock to the millisecond; nothing before it did.
    pub received_at: Option<Timestamp>,
    /// Whose clock `taken_at` goes by.
    pub time_source: TimeSource,
    /// Its number among all readings of its module, if the module numbers them. Not kept with the record: a reading
    /// that is read back has none.
    pub number: Option<SeqNo>,
}

impl Reading {
    /// A sample of a module, taken at a moment, not yet received and without a number.
    #[must_use]
    pub fn new(module_id: ModuleId, sample: Sample, taken_at: Timestamp) -> Self {
        Self {
            module_id,
            quantity: sample.quantity,
            outcome: sample.outcome,
            taken_at,
            received_at: None,
            time_source: TimeSource::Module,
            number: None,
        }
    }
}

/// The greatest epoch and number: what every language's numbers hold exactly, 2^53 - 1.
pub const MAX_SEQ: u64 = (1 << 53) - 1;

/// The number a module gives a reading before it first sends it, so that a hub stores it once however often it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeqNo {
    /// Drawn at random when a module begins to count anew (a new outbox): 1 to [`MAX_SEQ`].
    pub epoch: u64,
    /// 1 for the first reading of the epoch, then one more each: 1 to [`MAX_SEQ`].
    pub seq: u64,
}

/// Whose clock says when a reading was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TimeSource {
    /// The module's wall clock.
    #[default]
    Module,
    /// The module knew only how long ago it was taken (its wall clock was never set): the hub's clock at arrival, less
    /// that age.
    Estimated,
    /// The reading came without a time: the hub's clock at arrival.
    Hub,
    /// The module's time was more than 5 minutes ahead of the hub's clock: the hub's clock at arrival instead.
    Arrival,
    /// The hub's clock at arrival, which was wrong at that time: it was set by more than 5 minutes later.
    HubUnsynced,
}

impl TimeSource {
    /// Every source.
    pub const ALL: [Self; 5] = [Self::Module, Self::Estimated, Self::Hub, Self::Arrival, Self::HubUnsynced];

    /// The source's wire word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Estimated => "estimated",
            Self::Hub => "hub",
            Self::Arrival => "arrival",
            Self::HubUnsynced => "hub_unsynced",
        }
    }

    /// Whether it is the module's own clock, of which nothing needs to be said.
    #[allow(clippy::trivially_copy_pass_by_ref)] // Serde calls it.
    pub(crate) fn is_module(&self) -> bool {
        *self == Self::Module
    }
}

/// One measurement as it goes over the wire.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Reading))]
#[serde(deny_unknown_fields)]
pub struct ReadingRecord {
    module_id: ModuleId,
    /// What was measured; with `module_id` it names the series.
    #[serde(rename = "type")]
    kind: SensorType,
    /// A finite number, or null for a measurement that failed.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    value: Option<f64>,
    unit: Unit,
    /// When it was measured, by the module's clock; Unix seconds.
    timestamp: Timestamp,
    /// When the hub took it in; Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    received_at: Option<Timestamp>,
    /// With a null value: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Whose clock `timestamp` goes by; the module's when left out.
    #[serde(default, skip_serializing_if = "TimeSource::is_module")]
    time_source: TimeSource,
}

/// As a [`ReadingRecord`], without the copies that making one would take: a page of a hundred readings is written often.
impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("Reading", 8)?;
        record.serialize_field("module_id", self.module_id.as_str())?;
        record.serialize_field("type", self.quantity.name_str())?;
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
            outcome,
            taken_at: wire.timestamp,
            received_at: wire.received_at,
            time_source: wire.time_source,
            number: None,
        })
    }
}

/// A value came in a unit that does not measure that quantity.
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

/// Readings of one series summed up over one UTC-aligned stretch of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bucket {
    /// Whose they are.
    pub module_id: ModuleId,
    /// What was measured.
    #[serde(rename = "type")]
    pub kind: SensorType,
    /// The unit of `avg`, `min` and `max`.
    pub unit: Unit,
    /// The stretch's first moment, Unix seconds.
    pub start: Timestamp,
    /// The mean of the values; absent when there were none or when it was not asked for, as are the next three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg: Option<f64>,
    /// The least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// How many values there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// How many measurements failed.
    pub missing: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> Result<Reading, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn a_time_sources_word_is_its_wire_form() {
        for source in TimeSource::ALL {
            assert_eq!(serde_json::to_value(source).unwrap(), source.as_str());
        }
    }

    #[test]
    fn every_named_quantity_is_found_by_its_name() {
        for (quantity, name, unit) in NAMED {
            assert_eq!(&Quantity::new(SensorType::new(*name).unwrap(), Unit::COUNT), quantity);
            assert_eq!((quantity.name().as_str(), &quantity.unit()), (*name, unit));
        }
    }

    #[test]
    fn a_reading_is_written_as_its_record() {
        for text in [
            r#"{"module_id":"a","type":"soil","value":1.5,"unit":"bunches","timestamp":1795473000.0,"received_at":1795473001.0}"#,
            r#"{"module_id":"a","type":"soil","value":null,"unit":"bunches","timestamp":1795473000.0,"reason":"no ack","time_source":"hub"}"#,
        ] {
            let record: ReadingRecord = serde_json::from_str(text).unwrap();

            assert_eq!(serde_json::to_string(&record).unwrap(), text);
            assert_eq!(serde_json::to_string(&wire(text).unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn another_known_unit_is_converted() {
        let reading =
            wire(r#"{"module_id":"a","type":"temperature","value":212,"unit":"fahrenheit","timestamp":1795473000}"#)
                .unwrap();

        assert_eq!(reading.outcome.value(), Some(100.0));
        assert_eq!(serde_json::to_value(&reading).unwrap()["unit"], "celsius");
    }

    #[test]
    fn a_unit_of_something_else_is_refused_with_the_ones_that_fit() {
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
