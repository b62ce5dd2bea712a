//! Chips with a driver of the kernel's hardware monitoring subsystem (hwmon): thermometers such as LM75 and
//! SHT4x, supply monitors such as INA226, fans.
//!
//! # Values
//! Files and units are those of Documentation/hwmon/sysfs-interface.rst:
//!
//! | files | quantity | from → to |
//! |---|---|---|
//! | `temp1_input` | temperature | m°C → °C |
//! | `humidity1_input` | humidity | m% → % |
//! | `in0_input` | voltage | mV → V |
//! | `curr1_input` | current | mA → A |
//! | `power1_input`, else `power1_average` | power | µW → W |
//! | `energy1_input` | energy | µJ → J |
//! | `fan1_input` | fan-speed | revolutions per minute |
//! | `in0_lcrit_alarm` | undervoltage | 1 while the voltage is too low |
//!
//! Where there are several of a kind, the content of `temp1_label`, or else the number, is the channel. While
//! `temp1_fault` is 1, there is no data.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no hwmon chip` | the overlay is missing in `/boot/firmware/config.txt`; `dmesg` shows a chip that did not answer |
//! | `not found: 2 devices` | two chips of one name: set `device` |
//! | `bus` | a loose wire; a checksum error, which the kernel reports as an I/O error |
//! | `device: ... fault` | the chip reports a broken sensor, as an open thermocouple |
//!
//! # Deliberately absent
//! Limits and alarms, but for undervoltage: the hub compares values. Control of fans.

use std::path::Path;

use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample, model::reading::SeriesSpec};

use super::{
    DeviceFilter, Sysfs, quantities, series,
    sysfs::{digits, entries},
    text_in,
};
use crate::drivers::BlockingSensor;

pub(crate) const FOLDER: &str = "sys/class/hwmon";

/// A kind of channel: the name before the number, the rest of the file's name, the quantity, its unit, and
/// the factor from the unit of the file.
struct Kind(&'static str, &'static str, &'static str, &'static str, f64);

const KINDS: &[Kind] = &[
    Kind("temp", "_input", "temperature", "celsius", 1e-3),
    Kind("humidity", "_input", "humidity", "percent", 1e-3),
    Kind("in", "_input", "voltage", "volt", 1e-3),
    Kind("curr", "_input", "current", "ampere", 1e-3),
    Kind("power", "_input", "power", "watt", 1e-6),
    Kind("power", "_average", "power", "watt", 1e-6),
    Kind("energy", "_input", "energy", "joule", 1e-6),
    Kind("fan", "_input", "fan-speed", "rpm", 1.0),
    Kind("in", "_lcrit_alarm", "undervoltage", "boolean", 1.0),
];

#[derive(Debug, Clone, PartialEq)]
struct HwmonChannel {
    /// The name before the underscore: `temp1`.
    name: String,
    file: String,
    factor: f64,
}

/// The driver. It reads the chip that its filter matches at that moment.
///
/// ```
/// use iotpi_core::DeviceErrorKind;
/// use iotpi_hal::{drivers::BlockingSensor, kernel::{DeviceFilter, Sysfs, hwmon::Hwmon}};
///
/// match Hwmon::open(Sysfs::new(), DeviceFilter::named("sht4x"), &[]) {
///     Ok(mut chip) => println!("{:?}", chip.sense()),
///     Err(error) => assert_eq!(error.kind(), DeviceErrorKind::NotFound),
/// }
/// ```
#[derive(Debug)]
pub struct Hwmon {
    sysfs: Sysfs,
    filter: DeviceFilter,
    channels: Vec<(HwmonChannel, SeriesSpec)>,
}

impl Hwmon {
    /// Opens the chip with the named channels (`temp1`, `in0`), or with all it has.
    ///
    /// # Errors
    /// - [`DeviceErrorKind::NotFound`]: no chip matches, or several do.
    /// - [`DeviceErrorKind::Refused`]: the chip does not have one of the channels, or none at all.
    pub fn open(sysfs: Sysfs, filter: DeviceFilter, names: &[String]) -> Result<Self, DeviceError> {
        let folder = filter.find("hwmon chip", sysfs.entries(FOLDER))?;
        let found = channels(&folder);
        let refused = |message: String| Err(DeviceError::new(DeviceErrorKind::Refused, message));
        if let Some(name) =
            names.iter().find(|name| !found.iter().any(|(channel, ..)| channel.name == **name))
        {
            let known: Vec<_> = found.iter().map(|(channel, ..)| channel.name.as_str()).collect();
            return refused(format!("the hwmon chip has no channel `{name}`: it has {}", known.join(", ")));
        }
        let found: Vec<_> =
            found.into_iter().filter(|(c, ..)| names.is_empty() || names.contains(&c.name)).collect();
        if found.is_empty() {
            return refused(format!("the hwmon chip with {filter} has no channel with a value"));
        }
        let series = found.iter().map(|(channel, quantity)| (quantity.clone(), label(&folder, channel)));
        let series = series::distinguish(series.collect());
        let channels = found.into_iter().map(|(channel, _)| channel).zip(series).collect();
        Ok(Self { sysfs, filter, channels })
    }

    fn value(&self, folder: &Path, channel: &HwmonChannel) -> Result<f64, DeviceError> {
        let fault = folder.join(format!("{}_fault", channel.name));
        if fault.exists() && self.sysfs.number(&fault)? != 0.0 {
            let message = format!("{} reports a fault of its sensor", channel.name);
            return Err(DeviceError::new(DeviceErrorKind::Other, message));
        }
        Ok(self.sysfs.number(&folder.join(&channel.file))? * channel.factor)
    }
}

/// The channels of a chip with their quantities, in the order of the table.
fn channels(folder: &Path) -> Vec<(HwmonChannel, Quantity)> {
    let files: Vec<_> =
        entries(folder).into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    let mut found: Vec<(HwmonChannel, Quantity)> = Vec::new();
    for Kind(kind, rest, quantity, unit, factor) in KINDS {
        for file in &files {
            let Some(name) = file.strip_suffix(rest) else { continue };
            let is_kind = name.strip_prefix(kind).is_some_and(|n| !n.is_empty() && digits(n) == n);
            let Some(quantity) = quantities::quantity(quantity, unit) else { continue };
            let is_known = found.iter().any(|(known, measured)| known.name == name && *measured == quantity);
            if is_kind && !is_known {
                let channel = HwmonChannel { name: name.to_owned(), file: file.clone(), factor: *factor };
                found.push((channel, quantity));
            }
        }
    }
    found
}

/// The names of the channels of a chip that have a value.
pub(crate) fn channel_names(folder: &Path) -> Vec<String> {
    channels(folder).into_iter().map(|(channel, _)| channel.name).collect()
}

fn label(folder: &Path, channel: &HwmonChannel) -> String {
    let number = channel.name.trim_start_matches(|c: char| !c.is_ascii_digit()).to_owned();
    text_in(&folder.join(format!("{}_label", channel.name))).unwrap_or(number)
}

impl BlockingSensor for Hwmon {
    fn quantities(&self) -> Vec<Quantity> {
        self.channels.iter().map(|(_, series)| series.quantity.clone()).collect()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.channels.iter().map(|(_, series)| series.clone()).collect()
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let folder = self.filter.find("hwmon chip", self.sysfs.entries(FOLDER))?;
        series::samples(self.channels.iter().map(|(channel, series)| {
            let value = self.value(&folder, channel);
            (series.clone(), value.map(|value| quantities::sample(series, value)))
        }))
    }
}
