//! The unit of a reading: the one it names, otherwise that of its series or quantity, if the value is
//! plausible in it.

use std::{collections::HashMap, ops::RangeInclusive};

use iotpi_core::{Quantity, SensorType, Unit, model::reading::NewReading};

use crate::{
    error::{HubError, Result},
    store::SeriesKey,
};

/// The units suggested for a first reading without a unit.
const SUGGESTED: [&str; 14] = [
    "1", "boolean", "count", "percent", "celsius", "pascal", "lux", "volt", "ampere", "watt", "metre",
    "seconds", "ppm", "bytes",
];

/// Types whose values have no unit.
const WITHOUT_UNIT: [&str; 5] = ["ph", "aqi", "iaq", "uvi", "index"];

/// The quantity of a reading of this type. A custom series keeps the unit of its first reading: `units` has
/// the known series, and a new one is added.
pub(super) fn quantity(
    new: &NewReading,
    sensor: SensorType,
    units: &mut HashMap<SeriesKey, Unit>,
) -> Result<Quantity> {
    if let Some(named) = Quantity::named(&sensor) {
        return Ok(named);
    }
    let key = SeriesKey { module_id: new.module_id.clone(), sensor, channel: new.channel.clone() };
    let kept = units.get(&key).or(new.unit.as_ref()).cloned();
    let unit = kept.or_else(|| has_no_unit(&key.sensor).then_some(Unit::NONE)).ok_or_else(|| {
        HubError::unprocessable(format!(
            "the first `{}` of module `{}` needs a `unit`: a word such as celsius, percent or volt, `boolean` for on and \
             off, `count` for a number of things, or \"1\" for a value without a unit, such as pH or an index",
            key.sensor, key.module_id
        ))
        .with_choices(SUGGESTED.map(str::to_owned).to_vec())
    })?;
    units.insert(key.clone(), unit.clone());
    Ok(Quantity::Custom { name: key.sensor, unit })
}

fn has_no_unit(sensor: &SensorType) -> bool {
    let name = sensor.as_str();
    WITHOUT_UNIT.contains(&name) || name.ends_with("-index") || name.ends_with("_index")
}

/// Refuses a value without a unit that is implausible in its quantity's unit: 1013.25 is not a pressure in
/// pascal.
pub(super) fn check_implied_unit(new: &NewReading, quantity: &Quantity) -> Result<()> {
    let (Some(value), None, Some(usual)) = (new.value, &new.unit, usual(quantity)) else { return Ok(()) };
    if value == 0.0 || usual.contains(&value) {
        return Ok(());
    }
    let unit = quantity.unit();
    Err(HubError::unprocessable(format!(
        "{value} without a unit is not taken for a {} in {unit}, which is {} to {}: send `unit`, one of {}",
        quantity.name_str(),
        usual.start(),
        usual.end(),
        unit.alternatives().join(", ")
    ))
    .with_choices(unit.alternatives().into_iter().map(str::to_owned).collect()))
}

/// The values accepted without a unit; 0 is the same in every unit, or nearly so. With a unit any value is
/// accepted.
fn usual(quantity: &Quantity) -> Option<RangeInclusive<f64>> {
    Some(match quantity {
        // Any furnace, but not the kernel's thousandths of a degree.
        Quantity::Temperature => -273.15..=10_000.0,
        // Below 1 it is a fraction; a sensor in fog shows slightly more than 100.
        Quantity::Humidity => 1.0..=110.0,
        // From 11 km above the sea to a deep mine; hectopascal, kilopascal, bar, psi and inches of mercury
        // are all below.
        Quantity::Pressure => 20_000.0..=120_000.0,
        // Mains and solar strings, but not a battery in millivolts.
        Quantity::Voltage => -1_000.0..=1_000.0,
        Quantity::Current => -200.0..=200.0,
        Quantity::Power => -100_000.0..=100_000.0,
        // Ranging sensors reach this far; centimetres and millimetres are mostly above.
        Quantity::Distance => -20.0..=20.0,
        // Outdoor air has 420; below 100 it is a percentage, above 10 % parts per billion.
        Quantity::Co2 => 100.0..=100_000.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use iotpi_core::ModuleId;

    use super::*;

    fn new(value: f64, unit: Option<&str>) -> NewReading {
        let mut reading = NewReading::new(ModuleId::new("attic").unwrap(), Some(value));
        reading.unit = unit.map(|unit| Unit::parse(unit).unwrap());
        reading
    }

    #[test]
    fn a_value_without_a_unit_is_taken_only_where_the_canonical_unit_can_be_meant() {
        let taken = |quantity: Quantity, value| check_implied_unit(&new(value, None), &quantity).is_ok();

        for value in [101_325.0, 87_000.0, 30_000.0, 0.0] {
            assert!(taken(Quantity::Pressure, value), "{value}");
        }
        for value in [1013.25, 101.325, 1.01325, 14.7, 29.92, 760.0, 1_013_250.0, -5.0] {
            assert!(!taken(Quantity::Pressure, value), "{value}");
        }
        assert!(taken(Quantity::Temperature, 21.5) && taken(Quantity::Temperature, -40.0));
        assert!(!taken(Quantity::Temperature, 21_437.0) && !taken(Quantity::Temperature, -300.0));
        assert!(taken(Quantity::Humidity, 45.0) && taken(Quantity::Humidity, 100.0));
        assert!(!taken(Quantity::Humidity, 0.45) && !taken(Quantity::Humidity, 4523.0));
        assert!(taken(Quantity::Voltage, 3.3) && taken(Quantity::Voltage, 230.0));
        assert!(!taken(Quantity::Voltage, 3300.0));
        assert!(taken(Quantity::Distance, 1.5) && !taken(Quantity::Distance, 150.0));
        assert!(taken(Quantity::Co2, 415.0) && !taken(Quantity::Co2, 0.0415));
        assert!(taken(Quantity::Illuminance, 120_000.0) && taken(Quantity::Motion, 1.0));
    }

    #[test]
    fn with_a_unit_any_value_is_taken() {
        for (value, unit) in [(5.0, "pascal"), (0.45, "percent"), (3300.0, "volt"), (1013.25, "hPa")] {
            assert!(
                check_implied_unit(&new(value, Some(unit)), &Quantity::Pressure).is_ok(),
                "{value} {unit}"
            );
        }
    }

    #[test]
    fn the_first_reading_of_a_type_of_ones_own_needs_a_unit_unless_the_type_has_none() {
        let first = |sensor: &str, unit: Option<&str>| {
            let sensor = SensorType::new(sensor).unwrap();
            quantity(&new(7.0, unit), sensor, &mut HashMap::new()).map(|q| q.unit())
        };

        assert_eq!(first("ph", None).unwrap(), Unit::NONE);
        assert_eq!(first("voc-index", None).unwrap(), Unit::NONE);
        assert_eq!(first("ph", Some("count")).unwrap(), Unit::COUNT);
        assert_eq!(first("door", Some("1")).unwrap(), Unit::NONE);
        let error = first("door", None).unwrap_err();
        assert!(error.detail().contains("`boolean`") && error.detail().contains("\"1\""), "{error}");
        assert!(error.choices().contains(&"1".to_owned()));
    }
}
