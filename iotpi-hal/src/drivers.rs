//! Drivers: one file for each chip or kind of device, generic over its bus or pin. A driver owns its bus or
//! pin.
//!
//! Drivers of chips are blocking, as is every bus below them. [`crate::blocking::Blocking`] makes a
//! [`Sensor`](iotpi_core::Sensor) of one. Deliberately absent: a driver that depends on the board.

use iotpi_core::{DeviceError, Quantity, Sample};

pub mod bme280;
pub mod ds18b20;
#[cfg(feature = "tokio")]
pub mod led;
#[cfg(feature = "tokio")]
pub mod motion;
pub mod system;

/// A sensor that blocks its thread during a measurement: the blocking counterpart of [`iotpi_core::Sensor`].
pub trait BlockingSensor: Send + 'static {
    /// The quantities of the samples [`sense`](Self::sense) returns. They do not change.
    fn quantities(&self) -> Vec<Quantity>;

    /// Measures once: one sample of each quantity, in its canonical unit.
    ///
    /// # Errors
    /// [`DeviceError`] when the measurement failed. The next call tries again, and resets the device if
    /// necessary.
    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError>;
}
