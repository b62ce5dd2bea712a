//! Opens an I2C bus of any back end as one type: a driver is compiled once.
// The settings in use depend on the back ends of the build.
#![cfg_attr(
    not(all(feature = "sim", feature = "linux", feature = "pi")),
    allow(dead_code, unused_variables, unused_imports)
)]

use std::{fmt, path::PathBuf};

use embedded_hal::{
    delay::DelayNs,
    i2c::{self, Error as _, ErrorKind, ErrorType, I2c, Operation},
};
use serde::Deserialize;

use super::{Failure, Setup, not_built};
use crate::bus::{Bus, SystemDelay};

/// Settings of a chip on an I2C bus that has no other settings: `aht20`, `bh1750`, `bme680`, `mcp9808`, `scd4x`, `sht3x`,
/// `sht4x`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct I2cSettings {
    /// `linux` (default), `pi` or `sim`.
    pub bus: Bus,
    /// The device file of the I2C bus. Default `/dev/i2c-1`.
    pub i2c: PathBuf,
    /// The I2C address. Default: the lowest one of the chip.
    pub address: Option<u8>,
}

impl Default for I2cSettings {
    fn default() -> Self {
        Self { bus: Bus::default(), i2c: "/dev/i2c-1".into(), address: None }
    }
}

impl I2cSettings {
    /// The address, if the chip can have it.
    pub(super) fn address(&self, possible: &[u8]) -> Result<u8, Failure> {
        let address = self.address.unwrap_or(possible[0]);
        if possible.contains(&address) {
            return Ok(address);
        }
        let possible = match possible {
            [first, .., last] if possible.len() > 3 => format!("{first:#04x} to {last:#04x}"),
            few => few.iter().map(|one| format!("{one:#04x}")).collect::<Vec<_>>().join(" or "),
        };
        Err(super::wrong(format!("the chip has address {possible}, not {address:#04x}")))
    }

    /// Opens the bus, or the simulated bus with the faults of the driver.
    pub(super) fn open(
        &self,
        setup: &Setup,
        driver: &str,
        simulated: impl FnOnce(Simulated<'_>) -> Simulation,
    ) -> Result<(AnyI2c, AnyDelay), Failure> {
        match self.bus {
            #[cfg(feature = "sim")]
            Bus::Sim => {
                let bus = simulated(setup).with_faults(setup.world.faults(driver));
                let delay = bus.delay();
                Ok((AnyI2c::new(bus), AnyDelay(Box::new(delay))))
            }
            #[cfg(feature = "linux")]
            Bus::Linux => {
                Ok((AnyI2c::new(crate::bus::linux::i2c(&self.i2c)?), AnyDelay(Box::new(SystemDelay))))
            }
            #[cfg(feature = "pi")]
            Bus::Pi => Ok((AnyI2c::new(crate::bus::pi::i2c(&self.i2c)?), AnyDelay(Box::new(SystemDelay)))),
            #[allow(unreachable_patterns)]
            other => Err(not_built(other)),
        }
    }
}

/// The argument of the function that makes the simulated bus.
pub(super) type Simulated<'a> = &'a Setup;
#[cfg(feature = "sim")]
pub(super) type Simulation = crate::sim::SimI2c;
#[cfg(not(feature = "sim"))]
pub(super) type Simulation = std::convert::Infallible;

/// An I2C bus of any back end.
pub(super) struct AnyI2c(Box<dyn Transact>);

impl AnyI2c {
    fn new(bus: impl I2c + Send + 'static) -> Self {
        Self(Box::new(bus))
    }
}

/// The error of a bus, with its text.
pub(super) struct AnyI2cError(ErrorKind, String);

impl fmt::Debug for AnyI2cError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl i2c::Error for AnyI2cError {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

trait Transact: Send {
    fn transact(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), AnyI2cError>;
}

impl<I: I2c + Send> Transact for I {
    fn transact(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), AnyI2cError> {
        self.transaction(address, operations).map_err(|error| AnyI2cError(error.kind(), format!("{error:?}")))
    }
}

impl ErrorType for AnyI2c {
    type Error = AnyI2cError;
}

impl I2c for AnyI2c {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), AnyI2cError> {
        self.0.transact(address, operations)
    }
}

/// The delay of a back end.
pub(super) struct AnyDelay(Box<dyn DelayNs + Send>);

impl DelayNs for AnyDelay {
    fn delay_ns(&mut self, ns: u32) {
        self.0.delay_ns(ns);
    }
}
