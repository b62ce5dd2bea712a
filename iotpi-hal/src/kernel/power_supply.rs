//! Batteries, fuel gauges, uninterruptible supplies and mains with a kernel driver.
//!
//! # Values
//! Files and units are those of Documentation/ABI/testing/sysfs-class-power. A supply has some of them:
//!
//! | file | quantity | from → to |
//! |---|---|---|
//! | `capacity` | battery-level | % |
//! | `voltage_now` | voltage | µV → V |
//! | `current_now` | current | µA → A; negative while the battery discharges |
//! | `power_now` | power | µW → W |
//! | `temp` | temperature | tenths of °C → °C |
//! | `status` | charging | 1 while the battery charges |
//! | `online` | online | 1 while the supply has power |
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no power supply` | the overlay is missing in `/boot/firmware/config.txt`, as `i2c-sensor,max17040` |
//! | `charging` without data | the gauge does not know: it shows `Unknown` |
//!
//! # Deliberately absent
//! Charge and energy in ampere hours and watt hours: a gauge that shows them shows `capacity` too. Charge
//! control.

use std::path::Path;

use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample, model::reading::SeriesSpec};

use super::{Sysfs, quantities, series};
use crate::drivers::BlockingSensor;

pub(crate) const FOLDER: &str = "sys/class/power_supply";

/// A file, the quantity, its unit, and the factor from the unit of the file.
struct Property(&'static str, &'static str, &'static str, f64);

const PROPERTIES: &[Property] = &[
    Property("capacity", "battery-level", "percent", 1.0),
    Property("voltage_now", "voltage", "volt", 1e-6),
    Property("current_now", "current", "ampere", 1e-6),
    Property("power_now", "power", "watt", 1e-6),
    Property("temp", "temperature", "celsius", 0.1),
    Property("status", "charging", "boolean", 1.0),
    Property("online", "online", "boolean", 1.0),
];

/// The driver. It reads the supply of its name.
///
/// ```
/// use iotpi_core::DeviceErrorKind;
/// use iotpi_hal::{drivers::BlockingSensor, kernel::{Sysfs, power_supply::PowerSupply}};
///
/// match PowerSupply::open(Sysfs::new(), Some("battery".to_owned())) {
///     Ok(mut battery) => println!("{:?}", battery.sense()),
///     Err(error) => assert_eq!(error.kind(), DeviceErrorKind::NotFound),
/// }
/// ```
#[derive(Debug)]
pub struct PowerSupply {
    sysfs: Sysfs,
    name: String,
    properties: Vec<(&'static Property, Quantity)>,
}

impl std::fmt::Debug for Property {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl PowerSupply {
    /// Opens the supply of this name; without a name, the only one.
    ///
    /// # Errors
    /// - [`DeviceErrorKind::NotFound`]: there is no such supply, or several and no name.
    /// - [`DeviceErrorKind::Refused`]: the supply has no value.
    pub fn open(sysfs: Sysfs, name: Option<String>) -> Result<Self, DeviceError> {
        let names = names(&sysfs);
        let name = match (name, names.as_slice()) {
            (Some(name), _) if names.contains(&name) => name,
            (None, [only]) => only.clone(),
            (name, _) => return Err(not_found(name.as_deref(), &names)),
        };
        let folder = sysfs.path(FOLDER).join(&name);
        let shown = PROPERTIES.iter().filter(|property| folder.join(property.0).exists());
        let properties: Vec<_> = shown
            .filter_map(|property| Some((property, quantities::quantity(property.1, property.2)?)))
            .collect();
        if properties.is_empty() {
            let message = format!("the power supply `{name}` shows no value");
            return Err(DeviceError::new(DeviceErrorKind::Refused, message));
        }
        Ok(Self { sysfs, name, properties })
    }

    fn value(&self, folder: &Path, property: &Property) -> Result<f64, DeviceError> {
        let file = folder.join(property.0);
        if property.0 != "status" {
            return Ok(self.sysfs.number(&file)? * property.3);
        }
        match self.sysfs.text(&file)?.as_str() {
            "Charging" => Ok(1.0),
            "Discharging" | "Not charging" | "Full" => Ok(0.0),
            other => {
                let message = format!("the supply shows its status as `{other}`");
                Err(DeviceError::new(DeviceErrorKind::InvalidData, message))
            }
        }
    }
}

/// The names of all supplies.
pub(crate) fn names(sysfs: &Sysfs) -> Vec<String> {
    sysfs.names_with(FOLDER, "")
}

fn not_found(name: Option<&str>, names: &[String]) -> DeviceError {
    let message = match (name, names) {
        (_, []) => "no power supply: add its overlay to /boot/firmware/config.txt and reboot".to_owned(),
        (Some(name), _) => format!("no power supply `{name}`: there is {}", names.join(", ")),
        (None, _) => format!("several power supplies: choose one with `name`, of {}", names.join(", ")),
    };
    DeviceError::new(DeviceErrorKind::NotFound, message)
}

impl BlockingSensor for PowerSupply {
    fn quantities(&self) -> Vec<Quantity> {
        self.properties.iter().map(|(_, quantity)| quantity.clone()).collect()
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let folder = self.sysfs.path(FOLDER).join(&self.name);
        if !folder.exists() {
            return Err(not_found(Some(&self.name), &names(&self.sysfs)));
        }
        series::samples(self.properties.iter().map(|(property, quantity)| {
            let series = SeriesSpec::new(quantity.clone());
            let value = self.value(&folder, property);
            (series.clone(), value.map(|value| quantities::sample(&series, value)))
        }))
    }
}
