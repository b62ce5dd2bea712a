//! Physical quantities, each with one canonical unit.

use std::ops::RangeInclusive;

use crate::model::{id::SensorType, unit::Unit};

/// A physical quantity with one canonical unit.
///
/// ```
/// use iotpi_core::{Quantity, Unit};
///
/// let soil = Quantity::new("soil".parse()?, Unit::PERCENT);
/// assert_eq!((soil.name_str(), soil.unit()), ("soil", Unit::PERCENT));
/// assert_eq!(Quantity::new("temperature".parse()?, Unit::PERCENT), Quantity::Temperature);
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Quantity {
    /// Temperature in degrees Celsius.
    Temperature,
    /// Relative humidity in per cent, 0 to 100.
    Humidity,
    /// Pressure in pascal.
    Pressure,
    /// Illuminance in lux.
    Illuminance,
    /// Voltage in volt.
    Voltage,
    /// Current in ampere.
    Current,
    /// Power in watt.
    Power,
    /// Distance in metres.
    Distance,
    /// Carbon dioxide in parts per million.
    Co2,
    /// Motion: 1 if there is any, otherwise 0.
    Motion,
    /// Any other quantity.
    Custom {
        /// The `{type}` of its series.
        name: SensorType,
        /// The unit of its series.
        unit: Unit,
    },
}

/// The named quantities: variant, name on the wire, canonical unit.
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
    /// The named quantity with this type, if there is one.
    #[must_use]
    pub fn named(name: &SensorType) -> Option<Self> {
        NAMED.iter().find(|(_, n, _)| *n == name.as_str()).map(|(q, _, _)| q.clone())
    }

    /// The quantity of this type: a named one, or a custom one with `unit`.
    #[must_use]
    pub fn new(name: SensorType, unit: Unit) -> Self {
        Self::named(&name).unwrap_or(Self::Custom { name, unit })
    }

    /// The type of the quantity, the `{type}` of `/api/sensors/{type}`.
    ///
    /// # Panics
    /// Never: the names in the table are valid ids, which a test checks.
    #[must_use]
    #[allow(clippy::missing_panics_doc)]
    pub fn name(&self) -> SensorType {
        match self {
            Self::Custom { name, .. } => name.clone(),
            named => SensorType::new(named.name_str()).expect("names in the table are ids"),
        }
    }

    /// The type of the quantity as a string.
    #[must_use]
    pub fn name_str(&self) -> &str {
        match self {
            Self::Custom { name, .. } => name.as_str(),
            named => NAMED.iter().find(|(q, _, _)| q == named).map_or("custom", |(_, name, _)| name),
        }
    }

    /// The unit of its values.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match self {
            Self::Custom { unit, .. } => unit.clone(),
            named => NAMED.iter().find(|(q, _, _)| q == named).map_or(Unit::COUNT, |(_, _, u)| u.clone()),
        }
    }

    /// The physically possible values, in the quantity's unit. Quantities that are measured relative to
    /// something, such as voltage and distance, and custom quantities accept every finite number.
    ///
    /// | quantity | range |
    /// |---|---|
    /// | temperature | from absolute zero, -273.15 °C |
    /// | humidity | 0 to 110 %: sensors in fog show slightly more than 100 |
    /// | pressure, illuminance, carbon dioxide | from 0 |
    /// | motion | 0 to 1 |
    ///
    /// ```
    /// use iotpi_core::Quantity;
    ///
    /// assert!(!Quantity::Temperature.physical_range().contains(&-300.0));
    /// ```
    #[must_use]
    pub fn physical_range(&self) -> RangeInclusive<f64> {
        match self {
            Self::Temperature => -273.15..=f64::MAX,
            Self::Humidity => 0.0..=110.0,
            Self::Pressure | Self::Illuminance | Self::Co2 => 0.0..=f64::MAX,
            Self::Motion => 0.0..=1.0,
            Self::Voltage | Self::Current | Self::Power | Self::Distance | Self::Custom { .. } => {
                f64::MIN..=f64::MAX
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantity_is_found_by_its_name() {
        for (quantity, name, unit) in NAMED {
            assert_eq!(&Quantity::new(SensorType::new(*name).unwrap(), Unit::COUNT), quantity);
            assert_eq!((quantity.name().as_str(), &quantity.unit()), (*name, unit));
        }
    }
}
