//! Opens inputs that report their edges.
// The settings in use depend on the back ends of the build.
#![cfg_attr(
    not(all(feature = "sim", feature = "linux", feature = "pi")),
    allow(dead_code, unused_variables, unused_imports)
)]

use std::{path::PathBuf, time::Duration};

use iotpi_core::{Quantity, SensorType, Unit};
use serde::Deserialize;
use serde_json::Value;

use super::{CatalogEntry, Device, Failure, Pin, Setup, not_built, read, wrong};
#[cfg(feature = "sim")]
use crate::sim::SimPin;
use crate::{
    bus::{Bus, EdgeInput, Pull},
    drivers::{
        contact::Contact,
        counter::{Counter, CounterConfig},
        motion::{Motion, MotionConfig},
    },
};

pub(super) static ENTRIES: &[CatalogEntry] = &[
    CatalogEntry {
        name: "button",
        title: "Push button",
        offers: &["pressed"],
        connects: "any pin, to ground",
        buses: &[Bus::Sim, Bus::Linux, Bus::Pi],
        example: "bus = \"sim\"\npin = 24",
        readme: "reference-app/modules/input/README.md",
        open: button,
    },
    CatalogEntry {
        name: "contact",
        title: "Contact of a door, a window or a float switch",
        offers: &["open"],
        connects: "any pin, to ground",
        buses: &[Bus::Sim, Bus::Linux, Bus::Pi],
        example: "bus = \"sim\"\npin = \"GPIO25\"",
        readme: "reference-app/modules/input/README.md",
        open: contact,
    },
    CatalogEntry {
        name: "counter",
        title: "Pulse counter: water, gas or energy meter, rain gauge, anemometer",
        offers: &["energy", "power"],
        connects: "any pin, to ground",
        buses: &[Bus::Sim, Bus::Linux, Bus::Pi],
        example: "bus = \"sim\"\npin = 5\nquantity = \"energy\"\nunit = \"watt_hour\"\n\
                  rate_quantity = \"power\"\nrate_unit = \"watt\"\nrate_scale = 3600",
        readme: "reference-app/modules/counter/README.md",
        open: counter,
    },
    CatalogEntry {
        name: "motion",
        title: "Passive infrared motion sensor",
        offers: &["motion"],
        connects: "any pin",
        buses: &[Bus::Sim, Bus::Linux, Bus::Pi],
        example: "bus = \"sim\"\npin = 23\nhold_secs = 2.0",
        readme: "reference-app/modules/motion/README.md",
        open: motion,
    },
];

/// Settings of `button` and `contact`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ContactSettings {
    /// `linux` (default), `pi` or `sim`.
    #[serde(default)]
    pub bus: Bus,
    /// The pin.
    pub pin: Pin,
    /// The path of the GPIO chip, `/dev/gpiochip0`, where it is not found by its label; bus `linux` only.
    #[serde(default)]
    pub chip: Option<PathBuf>,
    /// The pull resistor of the pin: `up` (default), `down` or `none`.
    #[serde(default = "pull_up")]
    pub pull: Pull,
    /// Whether the value is 1 while the pin is low. Default true for a button, false for a contact: both connect
    /// the pin to ground, and a contact that is open is high.
    #[serde(default)]
    pub active_low: Option<bool>,
    /// The time in milliseconds that a level must last, 0 to 10,000. Default 10.
    #[serde(default = "contact_debounce_ms")]
    pub debounce_ms: u64,
}

/// Settings of `counter`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CounterSettings {
    /// `linux` (default), `pi` or `sim`.
    #[serde(default)]
    pub bus: Bus,
    /// The pin.
    pub pin: Pin,
    /// The path of the GPIO chip, `/dev/gpiochip0`, where it is not found by its label; bus `linux` only.
    #[serde(default)]
    pub chip: Option<PathBuf>,
    /// The pull resistor of the pin: `up` (default), `down` or `none`.
    #[serde(default = "pull_up")]
    pub pull: Pull,
    /// Whether a pulse is low. Default true: the contact connects the pin to ground.
    #[serde(default = "yes")]
    pub active_low: bool,
    /// The time in milliseconds that a level must last, 0 to 10,000. Default 5.
    #[serde(default = "counter_debounce_ms")]
    pub debounce_ms: u64,
    /// The quantity of the total, `energy`.
    pub quantity: SensorType,
    /// The unit of the total, `watt_hour`.
    pub unit: Unit,
    /// The amount of one pulse, in the unit of the total. Default 1.
    #[serde(default = "one")]
    pub scale: f64,
    /// The quantity of the rate, `power`. Without it there is no rate.
    #[serde(default)]
    pub rate_quantity: Option<SensorType>,
    /// The unit of the rate, `watt`.
    #[serde(default)]
    pub rate_unit: Option<Unit>,
    /// The rate at one pulse per second, in the unit of the rate.
    #[serde(default)]
    pub rate_scale: Option<f64>,
    /// The file with the number of pulses. Default: a file of this pin in the state folder of the module;
    /// without one the total begins at 0 with each start.
    #[serde(default)]
    pub state_file: Option<PathBuf>,
}

/// Settings of `motion`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MotionSettings {
    /// `linux` (default), `pi` or `sim`.
    #[serde(default)]
    pub bus: Bus,
    /// The pin.
    pub pin: Pin,
    /// The path of the GPIO chip, `/dev/gpiochip0`, where it is not found by its label; bus `linux` only.
    #[serde(default)]
    pub chip: Option<PathBuf>,
    /// Whether the pin is low during motion. Default false.
    #[serde(default)]
    pub active_low: bool,
    /// The time in milliseconds that a level must last, 0 to 10,000. Default 50.
    #[serde(default = "motion_debounce_ms")]
    pub debounce_ms: u64,
    /// The time in seconds motion lasts after the pin was last active, 0 to 3,600. Default 2.
    #[serde(default = "hold_secs")]
    pub hold_secs: f64,
}

fn pull_up() -> Pull {
    Pull::Up
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

fn contact_debounce_ms() -> u64 {
    10
}

fn counter_debounce_ms() -> u64 {
    5
}

fn motion_debounce_ms() -> u64 {
    50
}

fn hold_secs() -> f64 {
    2.0
}

/// An input pin and its back end.
struct Input {
    bus: Bus,
    pin: Pin,
    chip: Option<PathBuf>,
    pull: Pull,
    active_low: bool,
    debounce_ms: u64,
    driver: &'static str,
    world: fn(&Setup) -> bool,
}

/// Whether an input is active in the simulated world.
mod simulated {
    use super::Setup;

    #[cfg(feature = "sim")]
    pub(super) fn contact(setup: &Setup) -> bool {
        setup.world.weather().contact
    }

    #[cfg(feature = "sim")]
    pub(super) fn motion(setup: &Setup) -> bool {
        setup.world.weather().motion
    }

    /// A pulse every two seconds.
    #[cfg(feature = "sim")]
    pub(super) fn pulse(setup: &Setup) -> bool {
        setup.clock.now().as_micros().div_euclid(1_000_000) % 2 == 1
    }

    #[cfg(not(feature = "sim"))]
    pub(super) fn nothing(_: &Setup) -> bool {
        false
    }

    #[cfg(not(feature = "sim"))]
    pub(super) use {nothing as contact, nothing as motion, nothing as pulse};
}

impl Input {
    /// Opens the pin. The simulated one has the faults of the driver.
    fn open(self, setup: &Setup) -> Result<Box<dyn EdgeInput>, Failure> {
        let Self { bus, pin, chip, pull, active_low, debounce_ms, driver, world } = self;
        let pin = pin.checked(chip.as_deref())?;
        if debounce_ms > 10_000 {
            return Err(wrong("`debounce_ms` is 0 to 10000"));
        }
        let debounce = Duration::from_millis(debounce_ms);
        match bus {
            #[cfg(feature = "sim")]
            Bus::Sim => {
                let simulated = setup.clone();
                let input = SimPin::input(move || world(&simulated) != active_low).with_debounce(debounce);
                Ok(Box::new(input.with_faults(setup.world.faults(driver))))
            }
            #[cfg(feature = "linux")]
            Bus::Linux => Ok(Box::new(crate::bus::linux::edges(chip.as_deref(), pin, pull, debounce)?)),
            #[cfg(feature = "pi")]
            Bus::Pi => Ok(Box::new(crate::bus::pi::edges(pin, pull, debounce)?)),
            #[allow(unreachable_patterns)]
            other => Err(not_built(other)),
        }
    }
}

fn button(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    open_contact(settings, setup, "button", "pressed", true)
}

fn contact(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    open_contact(settings, setup, "contact", "open", false)
}

fn open_contact(
    settings: Value,
    setup: &Setup,
    driver: &'static str,
    quantity: &str,
    is_low: bool,
) -> Result<Device, Failure> {
    let ContactSettings { bus, pin, chip, pull, active_low, debounce_ms } = read(settings)?;
    let active_low = active_low.unwrap_or(is_low);
    let world = simulated::contact;
    let input = Input { bus, pin, chip, pull, active_low, debounce_ms, driver, world }.open(setup)?;
    let contact = Contact::new(input, custom(quantity, Unit::BOOLEAN)?);
    Ok(Device::Sensor(Box::new(if active_low { contact.active_low() } else { contact })))
}

fn custom(name: &str, unit: Unit) -> Result<Quantity, Failure> {
    let name = SensorType::new(name).map_err(|error| wrong(error.to_string()))?;
    Ok(Quantity::new(name, unit))
}

/// A quantity of the settings. A named quantity has one unit.
pub(super) fn quantity(name: SensorType, unit: Unit) -> Result<Quantity, Failure> {
    let quantity = Quantity::new(name, unit.clone());
    if quantity.unit() != unit {
        let text = format!("`{}` is recorded in {}, not in {unit}", quantity.name(), quantity.unit());
        return Err(wrong(format!("{text}: convert it with the scale")));
    }
    Ok(quantity)
}

fn counter(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let settings: CounterSettings = read(settings)?;
    let CounterSettings { bus, pin, chip, pull, active_low, debounce_ms, scale, .. } = settings;
    let finite = |scale: f64| scale.is_finite() && scale > 0.0;
    if !finite(scale) {
        return Err(wrong("`scale` is more than 0"));
    }
    let mut config = CounterConfig::new(quantity(settings.quantity, settings.unit)?, scale);
    config = match (settings.rate_quantity, settings.rate_unit, settings.rate_scale) {
        (None, None, None) => config,
        (Some(name), Some(unit), Some(scale)) if finite(scale) => {
            config.with_rate(quantity(name, unit)?, scale)
        }
        _ => {
            let text = "`rate_quantity`, `rate_unit` and `rate_scale` (more than 0) belong together";
            return Err(wrong(text));
        }
    };
    if active_low {
        config = config.active_low();
    }
    let (driver, world) = ("counter", simulated::pulse);
    let input = Input { bus, pin, chip, pull, active_low, debounce_ms, driver, world }.open(setup)?;
    let in_folder = || Some(setup.state_folder.as_ref()?.join(format!("counter-{pin}.json")));
    let counter = Counter::new(input, config);
    Ok(Device::Sensor(match settings.state_file.or_else(in_folder) {
        Some(file) => Box::new(counter.with_file(file)?),
        None => Box::new(counter),
    }))
}

fn motion(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let MotionSettings { bus, pin, chip, active_low, debounce_ms, hold_secs } = read(settings)?;
    if !(0.0..=3600.0).contains(&hold_secs) {
        return Err(wrong("`hold_secs` is 0 to 3600"));
    }
    // Without a sensor the pin must not float.
    let pull = if active_low { Pull::Up } else { Pull::Down };
    let (driver, world) = ("motion", simulated::motion);
    let input = Input { bus, pin, chip, pull, active_low, debounce_ms, driver, world }.open(setup)?;
    let config = MotionConfig { hold: Duration::from_secs_f64(hold_secs), active_low };
    Ok(Device::Sensor(Box::new(Motion::new(input, config))))
}
