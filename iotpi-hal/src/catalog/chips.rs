//! Opens sensor chips on an I2C bus.
// The settings in use depend on the back ends of the build.
#![cfg_attr(not(feature = "sim"), allow(unused_variables))]

use std::path::PathBuf;

use iotpi_core::{Channel, SensorType, Unit, model::reading::SeriesSpec};
use serde::Deserialize;
use serde_json::Value;

use super::{
    CatalogEntry, Device, Failure, I2cSettings, Setup,
    i2c::{AnyDelay, AnyI2c},
    inputs::quantity,
    read, wrong,
};
#[cfg(feature = "sim")]
use crate::sim::{self, SimI2c};
use crate::{
    blocking::Blocking,
    bus::Bus,
    drivers::{
        BlockingSensor,
        ads1115::{self, Ads1115, FullScale, Input, Measurand},
        aht20::{self, Aht20},
        bh1750::{self, Bh1750},
        bme680::{self, Bme680},
        ina219::{self, Ina219},
        mcp9808::{self, Mcp9808},
        scd4x::{self, Scd4x},
        sht::{Chip, Sht},
    },
};

const ALL_BUSES: &[Bus] = &[Bus::Sim, Bus::Linux, Bus::Pi];

pub(super) static ENTRIES: &[CatalogEntry] = &[
    CatalogEntry {
        name: "ads1115",
        title: "TI ADS1115: four analogue inputs, scaled to a quantity",
        offers: &["voltage", "soil-moisture"],
        connects: "I2C, 0x48 to 0x4B",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\naddress = 0x48\ninputs = [\n  { input = \"a0\" },\n  { input = \"a1\", quantity = \
                  \"soil-moisture\", unit = \"percent\", scale = -66.7, offset = 166.7 },\n]",
        readme: "reference-app/modules/analog/README.md",
        open: ads1115,
    },
    CatalogEntry {
        name: "aht20",
        title: "Aosong AHT20: temperature and humidity",
        offers: &["temperature", "humidity"],
        connects: "I2C, 0x38",
        buses: ALL_BUSES,
        example: "bus = \"sim\"",
        readme: "reference-app/modules/humidity/README.md",
        open: aht20,
    },
    CatalogEntry {
        name: "bh1750",
        title: "ROHM BH1750: light",
        offers: &["illuminance"],
        connects: "I2C, 0x23 or 0x5C",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\naddress = 0x23",
        readme: "reference-app/modules/light/README.md",
        open: bh1750,
    },
    CatalogEntry {
        name: "bme680",
        title: "Bosch BME680, BME688: temperature, humidity, pressure and gas resistance",
        offers: &["temperature", "humidity", "pressure", "gas-resistance"],
        connects: "I2C, 0x76 or 0x77",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\naddress = 0x77",
        readme: "reference-app/modules/air/README.md",
        open: bme680,
    },
    CatalogEntry {
        name: "ina219",
        title: "TI INA219: voltage, current and power",
        offers: &["voltage", "current", "power"],
        connects: "I2C, 0x40 to 0x4F",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\naddress = 0x40\nshunt_ohms = 0.1",
        readme: "reference-app/modules/power/README.md",
        open: ina219,
    },
    CatalogEntry {
        name: "mcp9808",
        title: "Microchip MCP9808: precise temperature",
        offers: &["temperature"],
        connects: "I2C, 0x18 to 0x1F",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\naddress = 0x18",
        readme: "reference-app/modules/temperature/README.md",
        open: mcp9808,
    },
    CatalogEntry {
        name: "scd4x",
        title: "Sensirion SCD40, SCD41: carbon dioxide, temperature and humidity",
        offers: &["co2", "temperature", "humidity"],
        connects: "I2C, 0x62",
        buses: ALL_BUSES,
        example: "bus = \"sim\"",
        readme: "reference-app/modules/air/README.md",
        open: scd4x,
    },
    CatalogEntry {
        name: "sht3x",
        title: "Sensirion SHT30, SHT31, SHT35: temperature and humidity",
        offers: &["temperature", "humidity"],
        connects: "I2C, 0x44 or 0x45",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\naddress = 0x44",
        readme: "reference-app/modules/humidity/README.md",
        open: sht3x,
    },
    CatalogEntry {
        name: "sht4x",
        title: "Sensirion SHT40, SHT41, SHT45: temperature and humidity",
        offers: &["temperature", "humidity"],
        connects: "I2C, 0x44, 0x45 or 0x46",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\naddress = 0x44",
        readme: "reference-app/modules/humidity/README.md",
        open: sht4x,
    },
];

/// Settings of `ina219`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Ina219Settings {
    /// `linux` (default), `pi` or `sim`.
    pub bus: Bus,
    /// The device file of the I2C bus. Default `/dev/i2c-1`.
    pub i2c: PathBuf,
    /// The I2C address, `0x40` (default) to `0x4F`.
    pub address: Option<u8>,
    /// The resistance of the shunt in ohms, 0.0001 to 10. Default 0.1.
    pub shunt_ohms: f64,
}

impl Default for Ina219Settings {
    fn default() -> Self {
        let I2cSettings { bus, i2c, address } = I2cSettings::default();
        Self { bus, i2c, address, shunt_ohms: 0.1 }
    }
}

/// Settings of `ads1115`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Ads1115Settings {
    /// `linux` (default), `pi` or `sim`.
    pub bus: Bus,
    /// The device file of the I2C bus. Default `/dev/i2c-1`.
    pub i2c: PathBuf,
    /// The I2C address, `0x48` (default) to `0x4B`.
    pub address: Option<u8>,
    /// The inputs to measure, one or more.
    pub inputs: Vec<Ads1115Input>,
}

impl Default for Ads1115Settings {
    fn default() -> Self {
        let I2cSettings { bus, i2c, address } = I2cSettings::default();
        Self { bus, i2c, address, inputs: Vec::new() }
    }
}

/// Settings of an input of `ads1115`: the value is `volts * scale + offset`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Ads1115Input {
    /// `a0` to `a3`, or a difference: `a0-a1`, `a2-a3`.
    pub input: Input,
    /// The channel of its readings, if several inputs have one quantity.
    #[serde(default)]
    pub channel: Option<Channel>,
    /// The quantity. Default `voltage`.
    #[serde(default = "voltage")]
    pub quantity: SensorType,
    /// The unit of the value. Default `volt`.
    #[serde(default = "volt")]
    pub unit: Unit,
    /// The change of the value per volt. Default 1.
    #[serde(default = "one")]
    pub scale: f64,
    /// The value at 0 V. Default 0.
    #[serde(default)]
    pub offset: f64,
    /// The largest voltage in volts: 4.096 (default), 2.048, 1.024, 0.512 or 0.256.
    #[serde(default = "full_scale")]
    pub full_scale: f64,
}

#[allow(clippy::expect_used)] // A constant id.
fn voltage() -> SensorType {
    SensorType::new("voltage").expect("an id")
}

fn volt() -> Unit {
    Unit::VOLT
}

fn one() -> f64 {
    1.0
}

fn full_scale() -> f64 {
    FullScale::default().volts()
}

fn sensor(driver: impl BlockingSensor) -> Result<Device, Failure> {
    Ok(Device::Sensor(Box::new(Blocking::new(driver))))
}

/// Opens the bus of a chip. `$chip` is an expression for the simulated chip with `$setup` and `$address`.
macro_rules! open {
    ($settings:expr, $setup:ident, $name:literal, $address:ident, $chip:expr) => {
        $settings.open($setup, $name, |$setup| {
            #[cfg(feature = "sim")]
            {
                SimI2c::new().with_chip($address, $chip)
            }
            #[cfg(not(feature = "sim"))]
            {
                unreachable!("bus `sim` is not in this build")
            }
        })?
    };
}

fn ads1115(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let Ads1115Settings { bus, i2c, address, inputs } = read(settings)?;
    if inputs.is_empty() {
        return Err(wrong("`inputs` names no input: inputs = [{ input = \"a0\" }]"));
    }
    let measurands = inputs.into_iter().map(measurand).collect::<Result<Vec<_>, _>>()?;
    let settings = I2cSettings { bus, i2c, address };
    let addresses: Vec<_> = (ads1115::FIRST_ADDRESS..=ads1115::LAST_ADDRESS).collect();
    let address = settings.address(&addresses)?;
    let (i2c, delay) = open!(settings, setup, "ads1115", address, {
        let weather = setup.world.weather();
        // A supply behind a divider, and a probe in the soil.
        sim::ads1115([weather.voltage / 2.0, 2.5 - weather.humidity / 66.7, 0.0, 0.0])
    });
    sensor(Ads1115::new(i2c, delay, address, measurands))
}

fn measurand(settings: Ads1115Input) -> Result<Measurand, Failure> {
    let Ads1115Input { input, channel, quantity: name, unit, scale, offset, full_scale } = settings;
    let is_same = |one: &FullScale| (one.volts() - full_scale).abs() < 1e-6;
    let Some(full_scale) = FullScale::ALL.into_iter().find(is_same) else {
        return Err(wrong("`full_scale` is 4.096, 2.048, 1.024, 0.512 or 0.256"));
    };
    if !scale.is_finite() || scale == 0.0 || !offset.is_finite() {
        return Err(wrong("`scale` is a number other than 0, `offset` is a number"));
    }
    let mut series = SeriesSpec::new(quantity(name, unit)?);
    series.channel = channel;
    Ok(Measurand::new(input, series).with_full_scale(full_scale).scaled(scale, offset))
}

fn aht20(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let settings: I2cSettings = read(settings)?;
    let address = settings.address(&[aht20::ADDRESS])?;
    let (i2c, delay) = open!(settings, setup, "aht20", address, sim::aht20(setup.world.clone()));
    sensor(Aht20::new(i2c, delay))
}

fn bh1750(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let settings: I2cSettings = read(settings)?;
    let address = settings.address(&[bh1750::PRIMARY_ADDRESS, bh1750::SECONDARY_ADDRESS])?;
    let (i2c, delay) = open!(settings, setup, "bh1750", address, sim::bh1750(setup.world.clone()));
    sensor(Bh1750::new(i2c, delay, address))
}

fn bme680(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let settings: I2cSettings = read(settings)?;
    let address = settings.address(&[bme680::PRIMARY_ADDRESS, bme680::SECONDARY_ADDRESS])?;
    let (i2c, delay) = open!(settings, setup, "bme680", address, sim::bme680(setup.world.clone()));
    sensor(Bme680::new(i2c, delay, address))
}

fn ina219(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let Ina219Settings { bus, i2c, address, shunt_ohms } = read(settings)?;
    if !(0.0001..=10.0).contains(&shunt_ohms) {
        return Err(wrong("`shunt_ohms` is 0.0001 to 10"));
    }
    let settings = I2cSettings { bus, i2c, address };
    let addresses: Vec<_> = (ina219::FIRST_ADDRESS..=ina219::LAST_ADDRESS).collect();
    let address = settings.address(&addresses)?;
    let (i2c, delay) =
        open!(settings, setup, "ina219", address, sim::ina219(setup.world.clone(), shunt_ohms));
    sensor(Ina219::new(i2c, delay, address, shunt_ohms))
}

fn mcp9808(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let settings: I2cSettings = read(settings)?;
    let addresses: Vec<_> = (mcp9808::FIRST_ADDRESS..=mcp9808::LAST_ADDRESS).collect();
    let address = settings.address(&addresses)?;
    let (i2c, delay) = open!(settings, setup, "mcp9808", address, sim::mcp9808(setup.world.clone()));
    sensor(Mcp9808::new(i2c, delay, address))
}

fn scd4x(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let settings: I2cSettings = read(settings)?;
    let address = settings.address(&[scd4x::ADDRESS])?;
    let (i2c, delay) = open!(settings, setup, "scd4x", address, sim::scd4x(setup.world.clone()));
    sensor(Scd4x::new(i2c, delay))
}

fn sht3x(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let settings: I2cSettings = read(settings)?;
    let address = settings.address(&[0x44, 0x45])?;
    let (i2c, delay): (AnyI2c, AnyDelay) =
        open!(settings, setup, "sht3x", address, sim::sht(Chip::Sht3x, setup.world.clone()));
    sensor(Sht::new(i2c, delay, address, Chip::Sht3x))
}

fn sht4x(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let settings: I2cSettings = read(settings)?;
    let address = settings.address(&[0x44, 0x45, 0x46])?;
    let (i2c, delay): (AnyI2c, AnyDelay) =
        open!(settings, setup, "sht4x", address, sim::sht(Chip::Sht4x, setup.world.clone()));
    sensor(Sht::new(i2c, delay, address, Chip::Sht4x))
}
