//! Quantities of the kernel's channels.

use iotpi_core::{Quantity, Sample, SensorType, Unit, model::reading::SeriesSpec};

use crate::drivers::in_range;

/// The quantity with this name and unit. `None` if one of them is not valid.
pub(super) fn quantity(name: &str, unit: &str) -> Option<Quantity> {
    Some(Quantity::new(SensorType::new(name).ok()?, unit.parse::<Unit>().ok()?))
}

/// A sample of a value, or one without data if no such value is possible.
pub(super) fn sample(series: &SeriesSpec, value: f64) -> Sample {
    in_range(series.clone(), value, series.quantity.physical_range())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_value_is_no_data() {
        let value = |quantity, value| sample(&SeriesSpec::new(quantity), value).outcome.value();

        assert_eq!(value(Quantity::Temperature, -273.16), None);
        assert_eq!(value(Quantity::Temperature, -273.15), Some(-273.15));
        assert_eq!(value(Quantity::Humidity, 110.1), None);
        assert_eq!(value(Quantity::Pressure, -1.0), None);
        assert_eq!(value(Quantity::Voltage, -1.0), Some(-1.0));
        assert_eq!(value(Quantity::Voltage, f64::NAN), None);
    }

    #[test]
    fn the_reason_names_a_limit_without_an_upper_one() {
        let cold = sample(&SeriesSpec::new(Quantity::Temperature), -300.0);

        assert_eq!(cold.outcome.reason(), Some("out of range: -300 celsius is below -273.15"));
    }
}
