//! Opens actuators.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use super::{
    CatalogEntry, Device, Failure, I2cSettings, Pin, Setup,
    pins::{AnyOutput, AnyPwm},
    read, wrong,
};
use crate::{
    bus::Bus,
    drivers::{
        led::Led,
        pca9685::{self, Pca9685},
        relay::Relays,
        servo::{self, Servo, ServoConfig},
    },
};

const ALL_BUSES: &[Bus] = &[Bus::Sim, Bus::Linux, Bus::Pi];
/// The frequency of the PWM output of a lamp: above the flicker that the eye sees.
const LAMP_HZ: u32 = 200;
const LAMP_HARDWARE_HZ: u32 = 1000;

pub(super) static ENTRIES: &[CatalogEntry] = &[
    CatalogEntry {
        name: "led",
        title: "A lamp on a pin, with brightness",
        offers: &["set", "blink"],
        connects: "any pin; BCM 12, 13, 18 or 19 for hardware PWM",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\npin = 17",
        readme: "reference-app/modules/led/README.md",
        open: led,
    },
    CatalogEntry {
        name: "pca9685",
        title: "NXP PCA9685: 16 PWM outputs",
        offers: &["set"],
        connects: "I2C, 0x40 to 0x7F",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\noutputs = [{ name = \"fan\", number = 0 }, { name = \"strip\", number = 15 }]",
        readme: "reference-app/modules/pwm/README.md",
        open: pca9685,
    },
    CatalogEntry {
        name: "relay",
        title: "Relays: pumps, valves, blinds, with interlock",
        offers: &["set"],
        connects: "any pin",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\nrelays = [{ name = \"up\", pin = 5 }, { name = \"down\", pin = 6 }]\ninterlock = true",
        readme: "reference-app/modules/relay/README.md",
        open: relay,
    },
    CatalogEntry {
        name: "servo",
        title: "Model servo",
        offers: &["move", "release"],
        connects: "any pin; BCM 12, 13, 18 or 19 for hardware PWM",
        buses: ALL_BUSES,
        example: "bus = \"sim\"\npin = 18",
        readme: "reference-app/modules/servo/README.md",
        open: servo,
    },
];

/// Settings of `led`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LedSettings {
    /// `linux` (default), `pi` or `sim`.
    #[serde(default)]
    pub bus: Bus,
    /// The pin.
    pub pin: Pin,
    /// The processor's PWM channel of that pin, with the `pwm` overlay. Without it the pin uses software PWM.
    #[serde(default)]
    pub pwm_channel: Option<u8>,
    /// The path of the GPIO chip, `/dev/gpiochip0`, where it is not found by its label; bus `linux` only.
    #[serde(default)]
    pub chip: Option<PathBuf>,
}

/// Settings of `relay`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RelaySettings {
    /// `linux` (default), `pi` or `sim`.
    #[serde(default)]
    pub bus: Bus,
    /// The path of the GPIO chip, `/dev/gpiochip0`, where it is not found by its label; bus `linux` only.
    #[serde(default)]
    pub chip: Option<PathBuf>,
    /// The relays, one or more.
    pub relays: Vec<RelayPin>,
    /// Whether a relay is on while its pin is low. Default false.
    #[serde(default)]
    pub active_low: bool,
    /// Whether the relays are on after the start of the module. Default false. They are off when it ends.
    #[serde(default)]
    pub start_on: bool,
    /// Whether at most one relay is on. Default false.
    #[serde(default)]
    pub interlock: bool,
    /// With an interlock: the time in milliseconds between one relay and the next, 0 to 10,000. Default 500.
    #[serde(default = "interlock_ms")]
    pub interlock_ms: u64,
    /// The time in seconds for which the issuer of a command or the hub may be absent until the relays are switched
    /// off, 1 to 3,600. Default: they stay on.
    #[serde(default)]
    pub while_alive_secs: Option<f64>,
}

/// A relay of `relay`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RelayPin {
    /// The name of the relay in commands.
    pub name: String,
    /// The pin.
    pub pin: Pin,
}

/// Settings of `servo`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ServoSettings {
    /// `linux` (default), `pi` or `sim`.
    #[serde(default)]
    pub bus: Bus,
    /// The pin.
    pub pin: Pin,
    /// The processor's PWM channel of that pin, with the `pwm` overlay. Without it the pin uses software PWM.
    #[serde(default)]
    pub pwm_channel: Option<u8>,
    /// The path of the GPIO chip, `/dev/gpiochip0`, where it is not found by its label; bus `linux` only.
    #[serde(default)]
    pub chip: Option<PathBuf>,
    /// The lowest and the highest angle in degrees. Default `[0, 180]`.
    #[serde(default)]
    pub angles: Option<(f64, f64)>,
    /// The widths of the pulses at these angles in microseconds, 400 to 2,600. Default `[1000, 2000]`.
    #[serde(default)]
    pub pulses_us: Option<(f64, f64)>,
    /// The angle when the module ends. Default: the servo gives way.
    #[serde(default)]
    pub safe_angle: Option<f64>,
}

/// Settings of `pca9685`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Pca9685Settings {
    /// `linux` (default), `pi` or `sim`.
    #[serde(default)]
    pub bus: Bus,
    /// The device file of the I2C bus. Default `/dev/i2c-1`.
    #[serde(default)]
    pub i2c: Option<PathBuf>,
    /// The I2C address, `0x40` (default) to `0x7F`.
    #[serde(default)]
    pub address: Option<u8>,
    /// The frequency of all outputs in hertz, 24 to 1,526. Default 1,000.
    #[serde(default = "frequency_hz")]
    pub frequency_hz: f64,
    /// The outputs in use, one or more.
    pub outputs: Vec<PwmOutput>,
}

/// An output of `pca9685`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PwmOutput {
    /// The name of the output in commands.
    pub name: String,
    /// Its number, 0 to 15.
    pub number: u8,
}

fn interlock_ms() -> u64 {
    500
}

fn frequency_hz() -> f64 {
    1000.0
}

/// Checks that names are given, and are different.
fn check_names<'a>(kind: &str, names: impl Iterator<Item = &'a String>) -> Result<(), Failure> {
    let mut seen: Vec<&String> = Vec::new();
    for name in names {
        if name.is_empty() || seen.contains(&name) {
            return Err(wrong(format!("each of `{kind}` has a name of its own, not `{name}`")));
        }
        seen.push(name);
    }
    if seen.is_empty() { Err(wrong(format!("`{kind}` is empty"))) } else { Ok(()) }
}

fn led(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let LedSettings { bus, pin, pwm_channel, chip } = read(settings)?;
    let hertz = if pwm_channel.is_some() { LAMP_HARDWARE_HZ } else { LAMP_HZ };
    let output = AnyPwm::open(bus, pin, pwm_channel, chip.as_deref(), hertz, setup, "led")?;
    Ok(Device::Actuator(Box::new(Led::new(output))))
}

fn relay(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let settings: RelaySettings = read(settings)?;
    let RelaySettings { bus, chip, active_low, start_on, interlock, interlock_ms, .. } = settings;
    check_names("relays", settings.relays.iter().map(|relay| &relay.name))?;
    if interlock_ms > 10_000 {
        return Err(wrong("`interlock_ms` is 0 to 10000"));
    }
    let mut outputs = Vec::new();
    for RelayPin { name, pin } in settings.relays {
        outputs.push((name, AnyOutput::open(bus, pin, chip.as_deref(), active_low, setup, "relay")?));
    }
    let mut relays = Relays::new(outputs);
    if active_low {
        relays = relays.active_low();
    }
    if interlock {
        relays = relays.with_interlock(Duration::from_millis(interlock_ms));
    }
    match settings.while_alive_secs {
        None => {}
        Some(secs) if (1.0..=3600.0).contains(&secs) => {
            relays = relays.while_alive(Duration::from_secs_f64(secs));
        }
        Some(_) => return Err(wrong("`while_alive_secs` is 1 to 3600")),
    }
    if start_on {
        relays = relays.started_on()?;
    }
    Ok(Device::Actuator(Box::new(relays)))
}

fn servo(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let ServoSettings { bus, pin, pwm_channel, chip, angles, pulses_us, safe_angle } = read(settings)?;
    let default = ServoConfig::default();
    let config = ServoConfig {
        angles: angles.unwrap_or(default.angles),
        pulses_us: pulses_us.unwrap_or(default.pulses_us),
        safe_angle,
    };
    let hertz = servo::FREQUENCY_HZ;
    let output = AnyPwm::open(bus, pin, pwm_channel, chip.as_deref(), hertz, setup, "servo")?;
    Ok(Device::Actuator(Box::new(Servo::new(output, config)?)))
}

fn pca9685(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let Pca9685Settings { bus, i2c, address, frequency_hz, outputs } = read(settings)?;
    check_names("outputs", outputs.iter().map(|output| &output.name))?;
    let default = I2cSettings::default();
    let settings = I2cSettings { bus, i2c: i2c.unwrap_or(default.i2c), address };
    let addresses: Vec<_> = (pca9685::FIRST_ADDRESS..=pca9685::LAST_ADDRESS).collect();
    let address = settings.address(&addresses)?;
    let (i2c, delay) = settings.open(setup, "pca9685", |_| {
        #[cfg(feature = "sim")]
        {
            crate::sim::SimI2c::new().with_chip(address, crate::sim::pca9685())
        }
        #[cfg(not(feature = "sim"))]
        {
            unreachable!("bus `sim` is not in this build")
        }
    })?;
    let outputs = outputs.into_iter().map(|PwmOutput { name, number }| (name, number));
    Ok(Device::Actuator(Box::new(Pca9685::new(i2c, delay, address, frequency_hz, outputs)?)))
}
