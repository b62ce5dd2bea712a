//! Opens sensors.
// The settings in use depend on the back ends of the build.
#![cfg_attr(
    not(all(feature = "sim", feature = "linux", feature = "pi")),
    allow(unused_variables, unused_imports)
)]

use std::path::PathBuf;

use iotpi_core::DeviceError;
use serde::Deserialize;
use serde_json::Value;

use super::{CatalogEntry, Device, Failure, Setup, not_built, read, wrong};
use crate::{
    blocking::Blocking,
    bus::Bus,
    drivers::{
        BlockingSensor,
        bme280::{Chip, PRIMARY_ADDRESS, SECONDARY_ADDRESS},
        ds18b20::Ds18b20,
        system::System,
    },
};
#[cfg(any(feature = "linux", feature = "pi"))]
use crate::{bus::SystemDelay, drivers::bme280::Bme280};

pub(super) static ENTRIES: &[CatalogEntry] = &[
    CatalogEntry {
        name: "bme280",
        title: "Bosch BME280: temperature, humidity and pressure",
        offers: &["temperature", "humidity", "pressure"],
        connects: "I2C, 0x76 or 0x77",
        buses: &[Bus::Sim, Bus::Linux, Bus::Pi],
        example: "bus = \"sim\"\ni2c = \"/dev/i2c-1\"\naddress = 0x76",
        readme: "reference-app/modules/temperature/README.md",
        open: bme280,
    },
    CatalogEntry {
        name: "bmp280",
        title: "Bosch BMP280: temperature and pressure",
        offers: &["temperature", "pressure"],
        connects: "I2C, 0x76 or 0x77",
        buses: &[Bus::Sim, Bus::Linux, Bus::Pi],
        example: "bus = \"sim\"\ni2c = \"/dev/i2c-1\"\naddress = 0x77",
        readme: "reference-app/modules/temperature/README.md",
        open: bmp280,
    },
    CatalogEntry {
        name: "ds18b20",
        title: "Maxim DS18B20 thermometer",
        offers: &["temperature"],
        connects: "1-Wire, BCM 4 by default",
        buses: &[Bus::Sim, Bus::Linux],
        example: "bus = \"sim\"",
        readme: "reference-app/modules/temperature/README.md",
        open: ds18b20,
    },
    CatalogEntry {
        name: "system",
        title: "This machine: processor temperature, load, memory, disk, uptime, throttling",
        offers: &["cpu-temperature", "load", "memory-used", "disk-used", "uptime", "throttled"],
        connects: "nothing: real values on every bus",
        buses: &[],
        example: "",
        readme: "reference-app/modules/system/README.md",
        open: system,
    },
];

/// Settings of `bme280` and `bmp280`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Bme280Settings {
    /// `linux` (default), `pi` or `sim`.
    pub bus: Bus,
    /// The device file of the I2C bus. Default `/dev/i2c-1`.
    pub i2c: PathBuf,
    /// The I2C address: `0x76` (default; SDO to ground) or `0x77`.
    pub address: u8,
}

impl Default for Bme280Settings {
    fn default() -> Self {
        Self { bus: Bus::default(), i2c: "/dev/i2c-1".into(), address: PRIMARY_ADDRESS }
    }
}

/// Settings of `ds18b20`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Ds18b20Settings {
    /// `linux` (default) or `sim`.
    pub bus: Bus,
    /// The id of the thermometer, `28-00000abcdef0`. Optional when there is only one.
    pub id: Option<String>,
}

/// Settings of `system`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SystemSettings {
    /// The folder that contains `/proc` and `/sys`. Default `/`.
    pub root: Option<PathBuf>,
}

fn sensor(driver: impl BlockingSensor) -> Device {
    Device::Sensor(Box::new(Blocking::new(driver)))
}

fn bme280(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    open_bme280(settings, setup, Chip::Bme280)
}

fn bmp280(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    open_bme280(settings, setup, Chip::Bmp280)
}

fn open_bme280(settings: Value, setup: &Setup, chip: Chip) -> Result<Device, Failure> {
    let Bme280Settings { bus, i2c, address } = read(settings)?;
    if !matches!(address, PRIMARY_ADDRESS | SECONDARY_ADDRESS) {
        return Err(wrong(format!("the chip has address 0x76 or 0x77, not {address:#04x}")));
    }
    match bus {
        #[cfg(feature = "sim")]
        Bus::Sim => {
            use crate::{drivers::bme280::Bme280, sim};

            let name = if chip == Chip::Bme280 { "bme280" } else { "bmp280" };
            let bus = sim::SimI2c::new()
                .with_chip(address, sim::bme280(chip, setup.world.clone()))
                .with_faults(setup.world.faults(name));
            let delay = bus.delay();
            Ok(sensor(Bme280::new(bus, delay, address, chip)))
        }
        #[cfg(feature = "linux")]
        Bus::Linux => {
            let i2c = crate::bus::linux::i2c(&i2c)?;
            Ok(sensor(Bme280::new(i2c, SystemDelay, address, chip)))
        }
        #[cfg(feature = "pi")]
        Bus::Pi => {
            let i2c = crate::bus::pi::i2c(&i2c)?;
            Ok(sensor(Bme280::new(i2c, SystemDelay, address, chip)))
        }
        #[allow(unreachable_patterns)]
        other => Err(not_built(other)),
    }
}

fn ds18b20(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let Ds18b20Settings { bus, id } = read(settings)?;
    if let Some(id) = &id
        && !crate::kernel::w1::is_thermometer(id)
    {
        return Err(wrong(format!("the id of a thermometer looks like `28-00000abcdef0`, not `{id}`")));
    }
    match bus {
        #[cfg(feature = "sim")]
        Bus::Sim => {
            use crate::sim::{SimDs18b20, SimThermometer};

            let id = id.as_deref().unwrap_or("28-0000005e1a2b");
            let sim = SimDs18b20::new(id, setup.world.clone())
                .map_err(DeviceError::from)?
                .with_faults(setup.world.faults("ds18b20"));
            Ok(sensor(SimThermometer::new(sim)))
        }
        // Plain files: this bus needs no feature.
        Bus::Linux => Ok(sensor(Ds18b20::new(id))),
        other => Err(not_built(other)),
    }
}

fn system(settings: Value, _setup: &Setup) -> Result<Device, Failure> {
    let SystemSettings { root } = read(settings)?;
    Ok(sensor(root.map_or_else(System::new, System::at)))
}
