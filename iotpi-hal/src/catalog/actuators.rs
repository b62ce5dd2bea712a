//! Opens actuators.
// The settings in use depend on the back ends of the build.
#![cfg_attr(
    not(all(feature = "sim", feature = "linux", feature = "pi")),
    allow(unused_variables, unused_imports)
)]

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::{CatalogEntry, Device, Failure, Setup, not_built, read};
use crate::{bus::Bus, drivers::led::Led};

pub(super) static ENTRIES: &[CatalogEntry] = &[CatalogEntry {
    name: "led",
    title: "A lamp on a pin, with brightness",
    offers: &["set", "blink"],
    connects: "any pin; BCM 12, 13, 18 or 19 for hardware PWM",
    buses: &[Bus::Sim, Bus::Linux, Bus::Pi],
    example: "bus = \"sim\"\npin = 17",
    readme: "reference-app/modules/led/README.md",
    open: led,
}];

/// Settings of `led`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LedSettings {
    /// `linux` (default), `pi` or `sim`.
    #[serde(default)]
    pub bus: Bus,
    /// The BCM number of the pin.
    pub pin: u8,
    /// The processor's PWM channel of that pin, with the `pwm` overlay. Without it the pin uses software PWM.
    #[serde(default)]
    pub pwm_channel: Option<u8>,
    /// The path of the GPIO chip, `/dev/gpiochip0`, where it is not found by its label; bus `linux` only.
    #[serde(default)]
    pub chip: Option<PathBuf>,
}

fn led(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let LedSettings { bus, pin, pwm_channel, chip } = read(settings)?;
    match bus {
        #[cfg(feature = "sim")]
        Bus::Sim => {
            let sim = crate::sim::SimPin::new().with_faults(setup.world.faults("led"));
            Ok(Device::Actuator(Box::new(Led::new(sim))))
        }
        #[cfg(feature = "linux")]
        Bus::Linux => {
            use crate::{
                bus::{SoftPwm, SysfsPwm, SysfsPwmConfig, linux::output},
                kernel::Sysfs,
            };

            Ok(Device::Actuator(match pwm_channel {
                Some(channel) => {
                    let config = SysfsPwmConfig { channel, ..SysfsPwmConfig::default() };
                    Box::new(Led::new(SysfsPwm::open(&Sysfs::new(), &config)?))
                }
                None => Box::new(Led::new(SoftPwm::new(output(chip.as_deref(), pin)?))),
            }))
        }
        #[cfg(feature = "pi")]
        Bus::Pi => {
            use crate::bus::pi;

            Ok(Device::Actuator(match pwm_channel {
                Some(channel) => Box::new(Led::new(pi::pwm(channel)?)),
                None => Box::new(Led::new(pi::output(pin)?)),
            }))
        }
        #[allow(unreachable_patterns)]
        other => Err(not_built(other)),
    }
}
