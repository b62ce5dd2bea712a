//! Drivers: one chip or kind of device per file, each generic over its bus or pin and taking it by value.
//!
//! The drivers of chips are blocking: so is every bus below them. [`crate::blocking::Blocking`] makes one a
//! [`Sensor`](iotpi_core::Sensor). Deliberately absent: a driver that knows which board it runs on.

use iotpi_core::{DeviceError, Quantity, Sample};

pub mod bme280;
pub mod ds18b20;
#[cfg(feature = "tokio")]
pub mod led;
#[cfg(feature = "tokio")]
pub mod motion;
pub mod system;

/// A sensor whose measurement occupies a thread for a while: the blocking half of [`iotpi_core::Sensor`].
pub trait BlockingSensor: Send + 'static {
    /// What [`sense`](Self::sense) returns samples of. Does not change.
    fn quantities(&self) -> Vec<Quantity>;

    /// Measures once: one sample of each quantity, in its canonical unit.
    ///
    /// # Errors
    /// [`DeviceError`] when nothing could be measured. The next call tries again, from a reset if need be.
    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError>;
}
