//! Opens devices that the kernel drives.
// The settings in use depend on the back ends of the build.
#![cfg_attr(not(feature = "sim"), allow(unused_variables))]

use std::{collections::BTreeMap, path::PathBuf};

use iotpi_core::{Quantity, SensorType, Unit};
use serde::Deserialize;
use serde_json::Value;

use super::{CatalogEntry, Device, Failure, Setup, not_built, read, wrong};
#[cfg(feature = "sim")]
use crate::sim::{SimW1, kernel as sim, kernel::SimKernel};
use crate::{
    blocking::Blocking,
    bus::{Bus, SysfsPwm, SysfsPwmConfig},
    drivers::{BlockingSensor, led::Led},
    kernel::{
        DeviceFilter, Sysfs,
        hwmon::Hwmon,
        iio::{Iio, IioConfig, LinearScale},
        leds::KernelLed,
        power_supply::PowerSupply,
        thermal::Thermal,
        w1::{W1, is_thermometer},
    },
};

const README: &str = "reference-app/modules/kernel/README.md";
const BUSES: &[Bus] = &[Bus::Sim, Bus::Linux];

pub(super) static ENTRIES: &[CatalogEntry] = &[
    CatalogEntry {
        name: "iio",
        title: "Any sensor or converter with an IIO driver of the kernel",
        offers: &["humidity", "pressure", "temperature"],
        connects: "a device tree overlay",
        buses: BUSES,
        example: "bus = \"sim\"\nname = \"bme280\"",
        readme: README,
        open: iio,
    },
    CatalogEntry {
        name: "hwmon",
        title: "Any thermometer, supply monitor or fan with a hwmon driver of the kernel",
        offers: &["temperature", "humidity"],
        connects: "a device tree overlay",
        buses: BUSES,
        example: "bus = \"sim\"\nname = \"sht4x\"",
        readme: README,
        open: hwmon,
    },
    CatalogEntry {
        name: "w1",
        title: "All 1-Wire thermometers: DS18B20, DS18S20, DS1822, DS1825, DS28EA00, MAX31850",
        offers: &["temperature"],
        connects: "1-Wire, BCM 4 by default",
        buses: BUSES,
        example: "bus = \"sim\"",
        readme: README,
        open: w1,
    },
    CatalogEntry {
        name: "thermal",
        title: "Thermal zones of the kernel: temperature of the processor",
        offers: &["temperature"],
        connects: "nothing",
        buses: BUSES,
        example: "bus = \"sim\"",
        readme: README,
        open: thermal,
    },
    CatalogEntry {
        name: "power_supply",
        title: "Battery, fuel gauge or mains with a kernel driver",
        offers: &["battery-level", "voltage", "current", "charging"],
        connects: "a device tree overlay",
        buses: BUSES,
        example: "bus = \"sim\"",
        readme: README,
        open: power_supply,
    },
    #[cfg(feature = "linux")]
    CatalogEntry {
        name: "input",
        title: "Buttons, switches or a rotary encoder with a kernel driver",
        offers: &["pressed"],
        connects: "a device tree overlay, or USB",
        buses: BUSES,
        example: "bus = \"sim\"\nname = \"button\"",
        readme: README,
        open: input,
    },
    CatalogEntry {
        name: "leds",
        title: "A lamp with a kernel driver: the LEDs of the board",
        offers: &["set", "blink"],
        connects: "nothing, or a device tree overlay",
        buses: BUSES,
        example: "bus = \"sim\"\nname = \"ACT\"",
        readme: README,
        open: leds,
    },
    CatalogEntry {
        name: "pwm",
        title: "A PWM output of the kernel, as a dimmer",
        offers: &["set", "blink"],
        connects: "a device tree overlay",
        buses: BUSES,
        example: "bus = \"sim\"\nfrequency_hz = 1000",
        readme: README,
        open: pwm,
    },
];

/// Settings of `iio`. Without `name`, `label` and `device` there must be only one device.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct IioSettings {
    /// `linux` (default) or `sim`.
    pub bus: Bus,
    /// The folder that contains `/sys`. Default `/`.
    pub root: Option<PathBuf>,
    /// The chip, as in the file `name`: `bme280`.
    pub name: Option<String>,
    /// The content of the file `label`.
    pub label: Option<String>,
    /// The kernel's name of the device, where there are several of one name: `1-0076` (I2C bus 1, address
    /// 0x76), `spi0.0`.
    pub device: Option<String>,
    /// The channels to read, by their names in the IIO ABI: `temp`, `voltage0`, `accel_x`. Default: all. With
    /// channels the device need not be present at the start.
    pub channels: Vec<String>,
    /// What an analogue sensor on a channel measures, by the name of the channel.
    pub map: BTreeMap<String, LinearScaleSettings>,
}

/// What an analogue sensor measures: `value × scale + offset`, of a value in volt, ampere...
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LinearScaleSettings {
    /// The name of the quantity: `soil-moisture`.
    pub quantity: SensorType,
    /// Its unit: `%`. A named quantity, such as `temperature`, has its own unit.
    #[serde(default)]
    pub unit: Option<Unit>,
    /// The factor. Default 1.
    #[serde(default = "one")]
    pub scale: f64,
    /// The result of 0. Default 0.
    #[serde(default)]
    pub offset: f64,
}

fn one() -> f64 {
    1.0
}

/// Settings of `hwmon`. Without `name`, `label` and `device` there must be only one chip.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HwmonSettings {
    /// `linux` (default) or `sim`.
    pub bus: Bus,
    /// The folder that contains `/sys`. Default `/`.
    pub root: Option<PathBuf>,
    /// The chip, as in the file `name`: `sht4x`.
    pub name: Option<String>,
    /// The content of the file `label`.
    pub label: Option<String>,
    /// The kernel's name of the device, where there are several of one name: `1-0044` (I2C bus 1, address
    /// 0x44).
    pub device: Option<String>,
    /// The channels to read: `temp1`, `in0`. Default: all.
    pub channels: Vec<String>,
}

/// Settings of `w1`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct W1Settings {
    /// `linux` (default) or `sim`.
    pub bus: Bus,
    /// The folder that contains `/sys`. Default `/`.
    pub root: Option<PathBuf>,
    /// The ids of the thermometers, `28-00000abcdef0`. Default: all that are present at the start.
    pub ids: Vec<String>,
}

/// Settings of `thermal`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ThermalSettings {
    /// `linux` (default) or `sim`.
    pub bus: Bus,
    /// The folder that contains `/sys`. Default `/`.
    pub root: Option<PathBuf>,
    /// The type of the zone, `cpu-thermal`. Default: all zones.
    pub zone: Option<String>,
}

/// Settings of `power_supply`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PowerSupplySettings {
    /// `linux` (default) or `sim`.
    pub bus: Bus,
    /// The folder that contains `/sys`. Default `/`.
    pub root: Option<PathBuf>,
    /// The name in `/sys/class/power_supply`. Optional when there is only one.
    pub name: Option<String>,
}

/// Settings of `input`. Without `name` and `device` there must be only one device.
#[cfg(feature = "linux")]
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InputSettings {
    /// `linux` (default) or `sim`.
    pub bus: Bus,
    /// The folder that contains `/sys` and `/dev`. Default `/`.
    pub root: Option<PathBuf>,
    /// The name of the device, as in `/sys/class/input/event0/device/name`. A part from `@` on may be left
    /// out.
    pub name: Option<String>,
    /// The kernel's name of the device, where there are several of one name: `button@11`.
    pub device: Option<String>,
    /// The codes of the keys, switches and axes to report, as in `linux/input-event-codes.h`. Default: all,
    /// if there are no more than 64.
    pub codes: Vec<u16>,
}

/// Settings of `leds`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LedsSettings {
    /// `linux` (default) or `sim`.
    #[serde(default)]
    pub bus: Bus,
    /// The folder that contains `/sys`. Default `/`.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// The name in `/sys/class/leds`: `ACT`.
    pub name: String,
}

/// Settings of `pwm`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PwmSettings {
    /// `linux` (default) or `sim`.
    pub bus: Bus,
    /// The folder that contains `/sys`. Default `/`.
    pub root: Option<PathBuf>,
    /// The kernel's name of the PWM controller: `fe20c000.pwm`. Default: that of the pins of a Raspberry Pi,
    /// or else the only one.
    pub device: Option<String>,
    /// The channel of the controller. Default 0.
    pub channel: u8,
    /// The frequency in hertz, 1 to 100,000. Default 1,000.
    pub frequency_hz: u32,
}

impl Default for PwmSettings {
    fn default() -> Self {
        let SysfsPwmConfig { device, channel, frequency_hz } = SysfsPwmConfig::default();
        Self { bus: Bus::default(), root: None, device, channel, frequency_hz }
    }
}

fn sensor(driver: impl BlockingSensor) -> Device {
    Device::Sensor(Box::new(Blocking::new(driver)))
}

fn sysfs(root: Option<PathBuf>) -> Sysfs {
    root.map_or_else(Sysfs::new, Sysfs::at)
}

/// Opens a driver on the files of the simulated device of its name.
#[cfg(feature = "sim")]
fn on_sim<D>(
    setup: &Setup,
    driver: &str,
    device: &'static sim::KernelDevice,
    open: impl FnOnce(Sysfs) -> Result<D, iotpi_core::DeviceError>,
) -> Result<SimKernel<D>, Failure> {
    let files = device.files(setup.world.clone(), setup.world.faults(driver))?;
    let driver = open(files.tree.sysfs())?;
    Ok(SimKernel { files, driver })
}

fn iio(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let IioSettings { bus, root, name, label, device, channels, map } = read(settings)?;
    let scales = map.into_iter().map(|(channel, scale)| Ok((channel, linear_scale(scale)?)));
    let config = IioConfig { channels, scales: scales.collect::<Result<_, Failure>>()? };
    match bus {
        #[cfg(feature = "sim")]
        Bus::Sim => {
            let chip = sim::named(sim::IIO, name.as_deref().unwrap_or("bme280"))?;
            let open = |sysfs| Iio::open(sysfs, DeviceFilter::named(chip.name), config);
            Ok(sensor(on_sim(setup, "iio", chip, open)?))
        }
        // Plain files: this bus needs no feature.
        Bus::Linux => {
            let filter = DeviceFilter { name, label, device };
            Ok(sensor(Iio::open(sysfs(root), filter, config)?))
        }
        other => Err(not_built(other)),
    }
}

fn linear_scale(settings: LinearScaleSettings) -> Result<LinearScale, Failure> {
    let LinearScaleSettings { quantity, unit, scale, offset } = settings;
    let quantity = match (Quantity::named(&quantity), unit) {
        (Some(named), unit) => {
            if unit.is_some_and(|unit| unit != named.unit()) {
                return Err(wrong(format!("the unit of {quantity} is {}", named.unit().as_str())));
            }
            named
        }
        (None, Some(unit)) => Quantity::new(quantity, unit),
        (None, None) => return Err(wrong(format!("`{quantity}` needs a `unit`"))),
    };
    if !(scale.is_finite() && offset.is_finite()) {
        return Err(wrong("`scale` and `offset` are numbers"));
    }
    Ok(LinearScale { quantity, scale, offset })
}

fn hwmon(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let HwmonSettings { bus, root, name, label, device, channels } = read(settings)?;
    match bus {
        #[cfg(feature = "sim")]
        Bus::Sim => {
            let chip = sim::named(sim::HWMON, name.as_deref().unwrap_or("sht4x"))?;
            let open = |sysfs| Hwmon::open(sysfs, DeviceFilter::named(chip.name), &channels);
            Ok(sensor(on_sim(setup, "hwmon", chip, open)?))
        }
        Bus::Linux => {
            let filter = DeviceFilter { name, label, device };
            Ok(sensor(Hwmon::open(sysfs(root), filter, &channels)?))
        }
        other => Err(not_built(other)),
    }
}

fn w1(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let W1Settings { bus, root, ids } = read(settings)?;
    if let Some(id) = ids.iter().find(|id| !is_thermometer(id)) {
        return Err(wrong(format!("the id of a thermometer looks like `28-00000abcdef0`, not `{id}`")));
    }
    match bus {
        #[cfg(feature = "sim")]
        Bus::Sim => {
            let two = || vec!["28-0000005e1a2b".to_owned(), "28-0000005e1a2c".to_owned()];
            let ids = if ids.is_empty() { two() } else { ids };
            Ok(sensor(SimW1::new(ids, &setup.world, &setup.world.faults("w1"))?))
        }
        Bus::Linux => Ok(sensor(W1::open(&sysfs(root), ids)?)),
        other => Err(not_built(other)),
    }
}

fn thermal(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let ThermalSettings { bus, root, zone } = read(settings)?;
    match bus {
        #[cfg(feature = "sim")]
        Bus::Sim => {
            let open = |sysfs| Thermal::open(sysfs, zone.as_deref());
            Ok(sensor(on_sim(setup, "thermal", &sim::THERMAL, open)?))
        }
        Bus::Linux => Ok(sensor(Thermal::open(sysfs(root), zone.as_deref())?)),
        other => Err(not_built(other)),
    }
}

fn power_supply(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let PowerSupplySettings { bus, root, name } = read(settings)?;
    match bus {
        #[cfg(feature = "sim")]
        Bus::Sim => {
            let open = |sysfs| PowerSupply::open(sysfs, name);
            Ok(sensor(on_sim(setup, "power_supply", &sim::POWER_SUPPLY, open)?))
        }
        Bus::Linux => Ok(sensor(PowerSupply::open(sysfs(root), name)?)),
        other => Err(not_built(other)),
    }
}

#[cfg(feature = "linux")]
fn input(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    use crate::kernel::input::Input;

    let InputSettings { bus, root, name, device, codes } = read(settings)?;
    match bus {
        #[cfg(feature = "sim")]
        Bus::Sim => {
            let faults = setup.world.faults("input");
            let button = crate::sim::SimInput::new(setup.world.clone(), faults, &codes)?;
            Ok(Device::Sensor(Box::new(button)))
        }
        Bus::Linux => {
            let filter = DeviceFilter { name, device, label: None };
            Ok(Device::Sensor(Box::new(Input::open(sysfs(root), filter, &codes)?)))
        }
        other => Err(not_built(other)),
    }
}

fn leds(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let LedsSettings { bus, root, name } = read(settings)?;
    match bus {
        #[cfg(feature = "sim")]
        Bus::Sim => {
            let open = |sysfs| KernelLed::open(sysfs, &name);
            Ok(Device::Actuator(Box::new(on_sim(setup, "leds", &sim::LED, open)?)))
        }
        Bus::Linux => Ok(Device::Actuator(Box::new(KernelLed::open(sysfs(root), &name)?))),
        other => Err(not_built(other)),
    }
}

fn pwm(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let PwmSettings { bus, root, device, channel, frequency_hz } = read(settings)?;
    let config = SysfsPwmConfig { device, channel, frequency_hz };
    match bus {
        #[cfg(feature = "sim")]
        Bus::Sim => {
            let open = |sysfs| Ok(Led::new(SysfsPwm::open(&sysfs, &config)?));
            Ok(Device::Actuator(Box::new(on_sim(setup, "pwm", &sim::PWM, open)?)))
        }
        Bus::Linux => Ok(Device::Actuator(Box::new(Led::new(SysfsPwm::open(&sysfs(root), &config)?)))),
        other => Err(not_built(other)),
    }
}
