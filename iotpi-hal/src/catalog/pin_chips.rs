//! Opens sensor chips on pins: distance and weight.
// The settings in use depend on the back ends of the build.
#![cfg_attr(
    not(all(feature = "sim", feature = "linux", feature = "pi")),
    allow(unused_variables, unused_imports)
)]

use std::{path::PathBuf, time::Duration};

use iotpi_core::{SensorType, Unit};
use serde::Deserialize;
use serde_json::Value;

use super::{
    CatalogEntry, Device, Failure, Pin, Setup,
    inputs::quantity,
    not_built,
    pins::{AnyInput, AnyOutput},
    read, wrong,
};
use crate::{
    blocking::Blocking,
    bus::{Bus, Pull, SystemDelay},
    drivers::{hcsr04::Hcsr04, hx711::Hx711},
};

const ALL_BUSES: &[Bus] = &[Bus::Sim, Bus::Linux, Bus::Pi];

pub(super) static ENTRIES: &[CatalogEntry] = &[
    CatalogEntry {
        name: "hcsr04",
        title: "HC-SR04: distance by ultrasound",
        offers: &["distance"],
        connects: "two pins; 5 V at its output need a divider",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\ntrigger = 23\necho = 24",
        readme: "reference-app/modules/distance/README.md",
        open: hcsr04,
    },
    CatalogEntry {
        name: "hx711",
        title: "Avia HX711: weight, by a load cell",
        offers: &["mass"],
        connects: "two pins",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\ndata = 5\nclock = 6\nzero = 8400\ncounts_per_unit = 430000",
        readme: "reference-app/modules/weight/README.md",
        open: hx711,
    },
];

/// Settings of `hcsr04`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Hcsr04Settings {
    /// `linux` (default), `pi` or `sim`.
    #[serde(default)]
    pub bus: Bus,
    /// The pin at TRIG.
    pub trigger: Pin,
    /// The pin at ECHO.
    pub echo: Pin,
    /// The path of the GPIO chip, `/dev/gpiochip0`, where it is not found by its label; bus `linux` only.
    #[serde(default)]
    pub chip: Option<PathBuf>,
}

/// Settings of `hx711`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Hx711Settings {
    /// `linux` (default), `pi` or `sim`.
    #[serde(default)]
    pub bus: Bus,
    /// The pin at DT.
    pub data: Pin,
    /// The pin at SCK.
    pub clock: Pin,
    /// The path of the GPIO chip, `/dev/gpiochip0`, where it is not found by its label; bus `linux` only.
    #[serde(default)]
    pub chip: Option<PathBuf>,
    /// The counts of the empty scale. Default 0.
    #[serde(default)]
    pub zero: i32,
    /// The counts of one unit; negative if A+ and A- are swapped.
    pub counts_per_unit: f64,
    /// The quantity. Default `mass`.
    #[serde(default = "mass")]
    pub quantity: SensorType,
    /// The unit. Default `kilogram`.
    #[serde(default = "kilogram")]
    pub unit: Unit,
}

#[allow(clippy::expect_used)] // A constant id.
fn mass() -> SensorType {
    SensorType::new("mass").expect("an id")
}

#[allow(clippy::expect_used)] // A unit of the table.
fn kilogram() -> Unit {
    "kilogram".parse().expect("a unit")
}

fn hcsr04(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let Hcsr04Settings { bus, trigger, echo, chip } = read(settings)?;
    let echo_pin = echo.checked(chip.as_deref())?;
    Ok(Device::Sensor(match bus {
        #[cfg(feature = "sim")]
        Bus::Sim => {
            trigger.checked(None)?;
            let (trigger, _) = crate::sim::hcsr04(setup.world.clone());
            let (trigger, echo) = trigger.with_faults(&setup.world.faults("hcsr04"));
            Box::new(Hcsr04::new(trigger, echo))
        }
        #[cfg(feature = "linux")]
        Bus::Linux => {
            let trigger = AnyOutput::open(bus, trigger, chip.as_deref(), false, setup, "hcsr04")?;
            let echo = crate::bus::linux::edges(chip.as_deref(), echo_pin, Pull::Down, Duration::ZERO)?;
            Box::new(Hcsr04::new(trigger, echo))
        }
        #[cfg(feature = "pi")]
        Bus::Pi => {
            let trigger = AnyOutput::open(bus, trigger, None, false, setup, "hcsr04")?;
            Box::new(Hcsr04::new(trigger, crate::bus::pi::edges(echo_pin, Pull::Down, Duration::ZERO)?))
        }
        #[allow(unreachable_patterns)]
        other => return Err(not_built(other)),
    }))
}

fn hx711(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let settings: Hx711Settings = read(settings)?;
    let Hx711Settings { bus, data, clock, chip, zero, counts_per_unit, .. } = settings;
    if !counts_per_unit.is_finite() || counts_per_unit == 0.0 {
        return Err(wrong("`counts_per_unit` is a number other than 0"));
    }
    let quantity = quantity(settings.quantity, settings.unit)?;
    #[cfg(feature = "sim")]
    if bus == Bus::Sim {
        data.checked(None)?;
        clock.checked(None)?;
        let chip = crate::sim::SimHx711::new(setup.world.clone(), zero, counts_per_unit)
            .with_faults(setup.world.faults("hx711"));
        let driver = Hx711::new(chip.clone(), chip.clone(), chip.delay(), quantity, zero, counts_per_unit);
        return Ok(Device::Sensor(Box::new(Blocking::new(driver))));
    }
    let data = AnyInput::open(bus, data, chip.as_deref(), Pull::Up)?;
    let clock = AnyOutput::open(bus, clock, chip.as_deref(), false, setup, "hx711")?;
    let driver = Hx711::new(data, clock, SystemDelay, quantity, zero, counts_per_unit);
    Ok(Device::Sensor(Box::new(Blocking::new(driver))))
}
