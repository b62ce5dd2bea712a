//! What a module makes of the readings of a sensor: calibration, smoothing, report on change.

use std::{collections::BTreeMap, time::Duration};

use iotpi_core::{
    Quantity, Sensor,
    module::ReportOnChange,
    processing::{Calibrated, Calibration, MAX_SMOOTHING_VALUES, Smoothed, Smoothing},
};
use serde::Deserialize;
use toml::Spanned;

use super::{
    faults::{Faults, suggestion},
    fields::Fields,
};

const DEFAULT_MAX_INTERVAL_SECS: f64 = 600.0;

/// A correction of a quantity: `value * scale + offset`, or points.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CalibrationSettings {
    /// The factor. Default 1.
    scale: Option<f64>,
    /// The difference, in the quantity's unit. Default 0.
    offset: Option<f64>,
    /// Pairs of a measured and a true value, linear between them.
    points: Option<Vec<(f64, f64)>>,
}

/// The smoothing of a quantity: `{ median = 5 }` or `{ mean = 5 }`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SmoothingSettings {
    Median(usize),
    Mean(usize),
}

/// A setting of one quantity, with its line.
#[derive(Debug)]
struct OfQuantity<T> {
    name: String,
    line: usize,
    value: T,
}

/// The processing of one device, by the names of its quantities.
#[derive(Debug, Default)]
pub struct Processing {
    calibrations: Vec<OfQuantity<Calibration>>,
    smoothings: Vec<OfQuantity<Smoothing>>,
    min_changes: Vec<OfQuantity<f64>>,
    /// Seconds after which an unchanged value is recorded again.
    max_interval_secs: Option<f64>,
}

/// A setting that does not match the quantities of the sensor, with its line.
pub type WrongQuantity = (usize, String);

impl Processing {
    /// Reads the settings of a device.
    pub fn read(fields: &mut Fields<'_>, faults: &mut Faults) -> Self {
        let calibrations = by_quantity(fields, "calibration", calibration, faults);
        let smoothings = by_quantity(fields, "smoothing", smoothing, faults);
        let min_changes = by_quantity(fields, "min_change", min_change, faults);
        let max_interval_secs = fields.number("max_interval_secs", 1.0, 86_400.0, faults);
        if max_interval_secs.is_some() && min_changes.is_empty() {
            let text = "`max_interval_secs` needs a `min_change`: without one every value is recorded";
            faults.push(fields.line_of("max_interval_secs"), text);
        }
        Self { calibrations, smoothings, min_changes, max_interval_secs }
    }

    /// Adds the calibration and the smoothing to a sensor.
    ///
    /// # Errors
    /// The settings of quantities that the sensor does not measure.
    pub fn apply(&self, sensor: Box<dyn Sensor>) -> Result<Box<dyn Sensor>, Vec<WrongQuantity>> {
        let quantities = sensor.quantities();
        let calibrations = in_quantities(&self.calibrations, &quantities)?;
        let smoothings = in_quantities(&self.smoothings, &quantities)?;
        let mut sensor = sensor;
        if !calibrations.is_empty() {
            let add = |sensor: Calibrated<_>, (quantity, calibration)| sensor.with(quantity, calibration);
            sensor = Box::new(calibrations.into_iter().fold(Calibrated::new(sensor), add));
        }
        if !smoothings.is_empty() {
            let add = |sensor: Smoothed<_>, (quantity, smoothing)| sensor.with(quantity, smoothing);
            sensor = Box::new(smoothings.into_iter().fold(Smoothed::new(sensor), add));
        }
        Ok(sensor)
    }

    /// The filter of unchanged values, if there is one.
    ///
    /// # Errors
    /// The settings of quantities that the sensor does not measure.
    pub fn report_on_change(
        &self,
        quantities: &[Quantity],
    ) -> Result<Option<ReportOnChange>, Vec<WrongQuantity>> {
        if self.min_changes.is_empty() {
            return Ok(None);
        }
        let interval = Duration::from_secs_f64(self.max_interval_secs.unwrap_or(DEFAULT_MAX_INTERVAL_SECS));
        let min_changes = in_quantities(&self.min_changes, quantities)?;
        let add =
            |filter: ReportOnChange, (quantity, min_change)| filter.with_min_change(quantity, min_change);
        Ok(Some(min_changes.into_iter().fold(ReportOnChange::new(interval), add)))
    }
}

/// Reads a table with a value for each quantity.
fn by_quantity<S, T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    check: fn(S) -> Result<T, String>,
    faults: &mut Faults,
) -> Vec<OfQuantity<T>>
where
    BTreeMap<String, Spanned<S>>: serde::de::DeserializeOwned,
{
    let table: BTreeMap<String, Spanned<S>> = fields.optional(key, faults).unwrap_or_default();
    let mut values = Vec::new();
    for (name, value) in table {
        let line = fields.line_at(&value.span());
        match check(value.into_inner()) {
            Ok(value) => values.push(OfQuantity { name, line, value }),
            Err(message) => faults.push(line, format!("`{key}` of {name}: {message}")),
        }
    }
    values
}

fn calibration(settings: CalibrationSettings) -> Result<Calibration, String> {
    let CalibrationSettings { scale, offset, points } = settings;
    match points {
        Some(points) if scale.is_none() && offset.is_none() => Calibration::points(points),
        Some(_) => return Err("`points`, or `scale` and `offset`, not both".to_owned()),
        None => Calibration::linear(scale.unwrap_or(1.0), offset.unwrap_or(0.0)),
    }
    .map_err(|error| error.to_string())
}

fn smoothing(settings: SmoothingSettings) -> Result<Smoothing, String> {
    let (SmoothingSettings::Median(count) | SmoothingSettings::Mean(count)) = settings;
    if !(2..=MAX_SMOOTHING_VALUES).contains(&count) {
        return Err(format!("the number of values is 2 to {MAX_SMOOTHING_VALUES}, not {count}"));
    }
    Ok(match settings {
        SmoothingSettings::Median(count) => Smoothing::Median(count),
        SmoothingSettings::Mean(count) => Smoothing::Mean(count),
    })
}

fn min_change(min_change: f64) -> Result<f64, String> {
    if min_change.is_finite() && min_change >= 0.0 {
        return Ok(min_change);
    }
    Err(format!("0 or more, not {min_change}"))
}

/// The settings by quantity.
fn in_quantities<T: Clone>(
    settings: &[OfQuantity<T>],
    quantities: &[Quantity],
) -> Result<Vec<(Quantity, T)>, Vec<WrongQuantity>> {
    let mut found = Vec::new();
    let mut wrong = Vec::new();
    for OfQuantity { name, line, value } in settings {
        match quantities.iter().find(|quantity| quantity.name_str() == name) {
            Some(quantity) => found.push((quantity.clone(), value.clone())),
            None => wrong.push((*line, not_measured(name, quantities))),
        }
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

fn not_measured(name: &str, quantities: &[Quantity]) -> String {
    let names = || quantities.iter().map(Quantity::name_str);
    let all: Vec<_> = names().collect();
    let suggestion = suggestion(name, names());
    format!("the device does not measure {name}{suggestion}: it measures {}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    fn faults(device: &str) -> String {
        let text = format!("id = \"a\"\n[[device]]\ndriver = \"bme280\"\nbus = \"sim\"\n{device}");
        Settings::parse(&text).map_or_else(|faults| faults.to_string(), |_| String::new())
    }

    #[test]
    fn calibration_smoothing_and_changes_are_set_for_each_quantity() {
        let device = "calibration.temperature = { offset = -0.8 }\n\
                      calibration.humidity = { points = [[31, 33], [77, 75.0]] }\n\
                      smoothing.temperature = { median = 5 }\nsmoothing.pressure = { mean = 3 }\n\
                      min_change.temperature = 0.2\nmax_interval_secs = 900\n";

        assert_eq!(faults(device), "");
        assert_eq!(faults("[device.calibration]\ntemperature = { scale = 1.01 }\n"), "");
    }

    #[test]
    fn wrong_processing_is_refused_with_its_line() {
        for (device, fault) in [
            (
                "calibration.temprature = { offset = 1 }",
                "line 5: the device does not measure temprature (did you mean `temperature`?)",
            ),
            (
                "calibration.humidity = { points = [[1, 2]] }",
                "line 5: `calibration` of humidity: a calibration has 2 to",
            ),
            (
                "calibration.humidity = { scale = 2, points = [[1, 2], [2, 3]] }",
                "line 5: `calibration` of humidity: `points`, or",
            ),
            ("calibration.humidity = { ofset = 2 }", "line 5: `calibration`: unknown field `ofset`"),
            (
                "\nsmoothing.pressure = { mean = 1 }",
                "line 6: `smoothing` of pressure: the number of values is 2 to 1000",
            ),
            ("smoothing.pressure = { average = 5 }", "line 5: `smoothing`: unknown variant `average`"),
            ("min_change.pressure = -1", "line 5: `min_change` of pressure: 0 or more"),
            ("max_interval_secs = 60", "line 5: `max_interval_secs` needs a `min_change`"),
            (
                "[device.min_change]\ntemperature = 0.1\nlight = 1",
                "line 7: the device does not measure light: it measures temperature",
            ),
        ] {
            let faults = faults(device);
            assert!(faults.starts_with(fault), "{device}: {faults}");
        }
    }
}
