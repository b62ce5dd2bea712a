//! Opens output pins of any back end as one type: a driver is compiled once.
// The settings in use depend on the back ends of the build.
#![cfg_attr(
    not(all(feature = "sim", feature = "linux", feature = "pi")),
    allow(dead_code, unused_variables, unused_imports)
)]

use std::{fmt, path::Path, time::Duration};

use embedded_hal::{
    digital::{self, InputPin, OutputPin},
    pwm::{self, SetDutyCycle},
};

use super::{Failure, Pin, Setup, not_built};
use crate::bus::{Bus, Pull};
#[cfg(feature = "sim")]
use crate::sim::SimPin;

/// The error of a pin, with its text.
pub(super) struct AnyPinError(String);

impl fmt::Debug for AnyPinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl digital::Error for AnyPinError {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other
    }
}

impl pwm::Error for AnyPinError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

fn any(error: impl fmt::Debug) -> AnyPinError {
    AnyPinError(format!("{error:?}"))
}

/// A digital output of any back end.
pub(super) struct AnyOutput(Box<dyn SetLevel>);

trait SetLevel: Send {
    fn set_level(&mut self, high: bool) -> Result<(), AnyPinError>;
}

impl<P: OutputPin + Send> SetLevel for P {
    fn set_level(&mut self, high: bool) -> Result<(), AnyPinError> {
        let set = if high { self.set_high() } else { self.set_low() };
        set.map_err(any)
    }
}

impl AnyOutput {
    /// Opens a pin with its first level. The simulated one has the faults of the driver.
    pub(super) fn open(
        bus: Bus,
        pin: Pin,
        chip: Option<&Path>,
        is_high: bool,
        setup: &Setup,
        driver: &str,
    ) -> Result<Self, Failure> {
        let pin = pin.checked(chip)?;
        match bus {
            #[cfg(feature = "sim")]
            Bus::Sim => {
                let sim = SimPin::new().with_faults(setup.world.faults(driver));
                sim.drive(is_high);
                Ok(Self(Box::new(sim)))
            }
            #[cfg(feature = "linux")]
            Bus::Linux => Ok(Self(Box::new(crate::bus::linux::output_at(chip, pin, is_high)?))),
            #[cfg(feature = "pi")]
            Bus::Pi => Ok(Self(Box::new(crate::bus::pi::output_at(pin, is_high)?))),
            #[allow(unreachable_patterns)]
            other => Err(not_built(other)),
        }
    }
}

impl digital::ErrorType for AnyOutput {
    type Error = AnyPinError;
}

impl OutputPin for AnyOutput {
    fn set_low(&mut self) -> Result<(), AnyPinError> {
        self.0.set_level(false)
    }

    fn set_high(&mut self) -> Result<(), AnyPinError> {
        self.0.set_level(true)
    }
}

/// A digital input of any real back end.
pub(super) struct AnyInput(Box<dyn ReadLevel>);

trait ReadLevel: Send {
    fn read_level(&mut self) -> Result<bool, AnyPinError>;
}

impl<P: InputPin + Send> ReadLevel for P {
    fn read_level(&mut self) -> Result<bool, AnyPinError> {
        self.is_high().map_err(any)
    }
}

impl AnyInput {
    /// Opens a pin.
    pub(super) fn open(bus: Bus, pin: Pin, chip: Option<&Path>, pull: Pull) -> Result<Self, Failure> {
        let pin = pin.checked(chip)?;
        match bus {
            #[cfg(feature = "linux")]
            Bus::Linux => Ok(Self(Box::new(crate::bus::linux::input(chip, pin, pull)?))),
            #[cfg(feature = "pi")]
            Bus::Pi => Ok(Self(Box::new(crate::bus::pi::input(pin, pull)?))),
            other => Err(not_built(other)),
        }
    }
}

impl digital::ErrorType for AnyInput {
    type Error = AnyPinError;
}

impl InputPin for AnyInput {
    fn is_high(&mut self) -> Result<bool, AnyPinError> {
        self.0.read_level()
    }

    fn is_low(&mut self) -> Result<bool, AnyPinError> {
        Ok(!self.is_high()?)
    }
}

/// A PWM output of any back end.
pub(super) struct AnyPwm(Box<dyn SetDuty>);

trait SetDuty: Send {
    fn max(&self) -> u16;
    fn set(&mut self, duty: u16) -> Result<(), AnyPinError>;
}

impl<P: SetDutyCycle + Send> SetDuty for P {
    fn max(&self) -> u16 {
        self.max_duty_cycle()
    }

    fn set(&mut self, duty: u16) -> Result<(), AnyPinError> {
        self.set_duty_cycle(duty).map_err(any)
    }
}

impl AnyPwm {
    /// Opens a hardware PWM channel, or software PWM on a pin. The simulated one has the faults of the driver.
    pub(super) fn open(
        bus: Bus,
        pin: Pin,
        pwm_channel: Option<u8>,
        chip: Option<&Path>,
        frequency_hz: u32,
        setup: &Setup,
        driver: &str,
    ) -> Result<Self, Failure> {
        let pin = pin.checked(chip)?;
        Ok(Self(match (bus, pwm_channel) {
            #[cfg(feature = "sim")]
            (Bus::Sim, _) => Box::new(SimPin::new().with_faults(setup.world.faults(driver))),
            #[cfg(feature = "linux")]
            (Bus::Linux, Some(channel)) => {
                use crate::{
                    bus::{SysfsPwm, SysfsPwmConfig},
                    kernel::Sysfs,
                };

                let config = SysfsPwmConfig { channel, frequency_hz, ..SysfsPwmConfig::default() };
                Box::new(SysfsPwm::open(&Sysfs::new(), &config)?)
            }
            #[cfg(feature = "linux")]
            (Bus::Linux, None) => {
                let output = crate::bus::linux::output(chip, pin)?;
                Box::new(crate::bus::SoftPwm::with_period(output, Duration::from_secs(1) / frequency_hz))
            }
            #[cfg(feature = "pi")]
            (Bus::Pi, Some(channel)) => Box::new(crate::bus::pi::pwm_at(channel, frequency_hz.into())?),
            #[cfg(feature = "pi")]
            (Bus::Pi, None) => Box::new(crate::bus::pi::soft_pwm(pin, frequency_hz.into())?),
            #[allow(unreachable_patterns)]
            (other, _) => return Err(not_built(other)),
        }))
    }
}

impl pwm::ErrorType for AnyPwm {
    type Error = AnyPinError;
}

impl SetDutyCycle for AnyPwm {
    fn max_duty_cycle(&self) -> u16 {
        self.0.max()
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), AnyPinError> {
        self.0.set(duty)
    }
}
