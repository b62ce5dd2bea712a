//! Lists the devices that this machine has, each with settings for it.
//!
//! Only files below `/sys` are read; no bus is probed, and no device is opened.
//!
//! Deliberately absent: chips without a kernel driver. An I2C bus does not tell what is connected to it, and
//! asking each address can disturb a chip.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::kernel::{
    LEDS_FOLDER, Sysfs, bus_name, hwmon, iio, name_of, power_supply, pwm_chips, text_in, thermal, w1,
};

/// The kinds of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FoundKind {
    /// A device of the industrial I/O subsystem.
    Iio,
    /// A chip of the hardware monitoring subsystem.
    Hwmon,
    /// A 1-Wire thermometer.
    OneWire,
    /// A thermal zone.
    Thermal,
    /// A battery or another power supply.
    PowerSupply,
    /// An input device: buttons, a rotary encoder.
    Input,
    /// A lamp with a kernel driver.
    Led,
    /// A PWM controller.
    Pwm,
    /// A GPIO chip.
    GpioChip,
    /// An I2C bus.
    I2cBus,
    /// A V4L2 camera.
    Camera,
}

impl FoundKind {
    /// The kind as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Iio => "iio",
            Self::Hwmon => "hwmon",
            Self::OneWire => "w1",
            Self::Thermal => "thermal",
            Self::PowerSupply => "power_supply",
            Self::Input => "input",
            Self::Led => "leds",
            Self::Pwm => "pwm",
            Self::GpioChip => "gpio",
            Self::I2cBus => "i2c",
            Self::Camera => "camera",
        }
    }
}

impl fmt::Display for FoundKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A device that the kernel shows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Its kind.
    pub kind: FoundKind,
    /// Its name: that of the chip, the id of a thermometer, the type of a zone.
    pub name: String,
    /// What it has, or where it is, for people: `temp, humidityrelative; 1-0076`.
    pub about: String,
    /// A `[[device]]` table of a settings file that opens it. `None` if it is not a device by itself, as a
    /// bus.
    pub settings: Option<String>,
}

/// Lists the devices of this machine, or of another tree of kernel files: by kind, then in the order of their
/// names. The order is the same each time. Files that cannot be read are left out.
///
/// ```
/// use iotpi_hal::{kernel::Sysfs, scan::scan};
///
/// for device in scan(&Sysfs::new()) {
///     println!("{:12} {:20} {}", device.kind, device.name, device.about);
/// }
/// ```
#[must_use]
pub fn scan(sysfs: &Sysfs) -> Vec<Found> {
    let mut found = iio_devices(sysfs);
    found.extend(hwmon_chips(sysfs));
    found.extend(thermometers(sysfs));
    found.extend(thermal_zones(sysfs));
    found.extend(power_supplies(sysfs));
    found.extend(inputs(sysfs));
    found.extend(leds(sysfs));
    found.extend(pwm_controllers(sysfs));
    found.extend(gpio_chips(sysfs));
    found.extend(i2c_buses(sysfs));
    found.extend(cameras(sysfs));
    found
}

fn found(kind: FoundKind, name: impl Into<String>, about: impl Into<String>) -> Found {
    Found { kind, name: name.into(), about: about.into(), settings: None }
}

impl Found {
    fn with_settings(mut self, driver: &str, keys: &[(&str, &str)]) -> Self {
        let lines = keys.iter().map(|(key, value)| format!("{key} = {}\n", toml_string(value)));
        self.settings = Some(format!("[[device]]\ndriver = \"{driver}\"\n{}", lines.collect::<String>()));
        self
    }
}

/// A basic string of TOML.
fn toml_string(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

/// Names of chips, each with its place on a bus. The place is part of the settings only where there are
/// several of the name.
fn named_devices(folders: &[impl AsRef<Path>]) -> Vec<(&Path, String, Option<String>, bool)> {
    let named: Vec<_> = folders
        .iter()
        .filter_map(|folder| Some((folder.as_ref(), name_of(folder.as_ref())?, bus_name(folder.as_ref()))))
        .collect();
    let is_single = |name: &str| named.iter().filter(|(_, other, _)| other == name).count() == 1;
    let mut devices: Vec<_> = named
        .iter()
        .map(|(folder, name, bus)| (*folder, name.clone(), bus.clone(), is_single(name)))
        .collect();
    devices.sort_by(|a, b| (&a.1, &a.2).cmp(&(&b.1, &b.2)));
    devices
}

fn chip(kind: FoundKind, name: &str, bus: Option<&str>, is_single: bool, channels: &str) -> Found {
    let about = [channels, bus.unwrap_or_default()].join("; ");
    let mut keys = vec![("name", name)];
    keys.extend(bus.filter(|_| !is_single).map(|bus| ("device", bus)));
    found(kind, name, about.trim_matches([';', ' '])).with_settings(kind.as_str(), &keys)
}

fn iio_devices(sysfs: &Sysfs) -> Vec<Found> {
    let folders = sysfs.entries(iio::FOLDER);
    let devices = named_devices(&folders).into_iter().filter_map(|(folder, name, bus, is_single)| {
        let channels = iio::channel_names(folder);
        let has_channels = !channels.is_empty();
        has_channels.then(|| chip(FoundKind::Iio, &name, bus.as_deref(), is_single, &channels.join(", ")))
    });
    devices.collect()
}

fn hwmon_chips(sysfs: &Sysfs) -> Vec<Found> {
    // These have a driver of their own here.
    let is_elsewhere = |name: &str| name == "w1_slave_temp";
    let folders = sysfs.entries(hwmon::FOLDER);
    let chips = named_devices(&folders).into_iter().filter(|(_, name, ..)| !is_elsewhere(name));
    let chips = chips.filter_map(|(folder, name, bus, is_single)| {
        let channels = hwmon::channel_names(folder);
        let has_channels = !channels.is_empty();
        has_channels.then(|| chip(FoundKind::Hwmon, &name, bus.as_deref(), is_single, &channels.join(", ")))
    });
    chips.collect()
}

fn thermometers(sysfs: &Sysfs) -> Vec<Found> {
    let ids = w1::ids(&sysfs.path(w1::FOLDER)).into_iter();
    ids.map(|id| found(FoundKind::OneWire, &*id, w1::chip(&id)).with_settings("ds18b20", &[("id", &id)]))
        .collect()
}

fn thermal_zones(sysfs: &Sysfs) -> Vec<Found> {
    let mut types: Vec<_> = thermal::zones(sysfs).into_iter().map(|(_, kind)| kind).collect();
    types.sort();
    types.dedup();
    let zone =
        |kind: String| found(FoundKind::Thermal, &*kind, "temp").with_settings("thermal", &[("zone", &kind)]);
    types.into_iter().map(zone).collect()
}

fn power_supplies(sysfs: &Sysfs) -> Vec<Found> {
    let names = power_supply::names(sysfs).into_iter();
    let supplies = names.map(|name| {
        let kind = text_in(&sysfs.path(power_supply::FOLDER).join(&name).join("type")).unwrap_or_default();
        found(FoundKind::PowerSupply, &*name, kind).with_settings("power_supply", &[("name", &name)])
    });
    supplies.collect()
}

fn inputs(sysfs: &Sysfs) -> Vec<Found> {
    let events = sysfs.entries("sys/class/input").into_iter().filter_map(|folder| {
        let event = folder.file_name()?.to_str()?.strip_prefix("event")?.to_owned();
        let name = name_of(&folder.join("device"))?;
        let device = found(FoundKind::Input, &*name, format!("/dev/input/event{event}"));
        // Its driver needs the feature.
        Some(if cfg!(feature = "linux") { device.with_settings("input", &[("name", &name)]) } else { device })
    });
    events.collect()
}

fn leds(sysfs: &Sysfs) -> Vec<Found> {
    let names = sysfs.names_with(LEDS_FOLDER, "brightness").into_iter();
    names.map(|name| found(FoundKind::Led, &*name, "").with_settings("leds", &[("name", &name)])).collect()
}

fn pwm_controllers(sysfs: &Sysfs) -> Vec<Found> {
    let mut chips = pwm_chips(sysfs);
    chips.sort();
    let controller = |(device, chip): (String, PathBuf)| {
        let channels = text_in(&chip.join("npwm")).unwrap_or_default();
        let about = format!("{channels} channels");
        found(FoundKind::Pwm, &*device, about).with_settings("pwm", &[("device", &device)])
    };
    chips.into_iter().map(controller).collect()
}

fn gpio_chips(sysfs: &Sysfs) -> Vec<Found> {
    let chips = sysfs.entries("sys/bus/gpio/devices").into_iter().filter_map(|chip| {
        let number = chip.file_name()?.to_str()?.to_owned();
        Some(found(FoundKind::GpioChip, number, bus_name(&chip)?))
    });
    chips.collect()
}

fn i2c_buses(sysfs: &Sysfs) -> Vec<Found> {
    let buses = sysfs.entries("sys/bus/i2c/devices").into_iter().filter_map(|bus| {
        let number = bus.file_name()?.to_str()?.strip_prefix("i2c-")?.to_owned();
        Some(found(FoundKind::I2cBus, format!("/dev/i2c-{number}"), name_of(&bus).unwrap_or_default()))
    });
    buses.collect()
}

/// A camera has several video devices, of which the one with index 0 has the frames.
fn cameras(sysfs: &Sysfs) -> Vec<Found> {
    let devices = sysfs.entries("sys/class/video4linux").into_iter().filter_map(|folder| {
        let file = format!("/dev/{}", folder.file_name()?.to_str()?);
        let is_first = text_in(&folder.join("index")).is_none_or(|index| index == "0");
        let is_video = file.starts_with("/dev/video");
        let name = name_of(&folder).filter(|_| is_first && is_video)?;
        Some(found(FoundKind::Camera, name, &*file).with_settings("v4l", &[("device", &file)]))
    });
    devices.collect()
}
