//! Drivers: one file for each chip or kind of device, generic over its bus or pin. A driver owns its bus or
//! pin.
//!
//! Drivers of chips are blocking, as is every bus below them. `blocking::Blocking` makes a
//! [`Sensor`](iotpi_core::Sensor) of one. Deliberately absent: a driver that depends on the board.
//!
//! To write a driver, implement [`BlockingSensor`]. [`I2cRegisters`] and [`I2cCommands`] transfer bytes with
//! errors of this SDK; [`in_range`] makes a sample of a value that may be outside the range of the chip.

use std::ops::RangeInclusive;

use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample, model::reading::SeriesSpec};

pub mod ads1115;
pub mod aht20;
pub mod bh1750;
pub mod bme280;
pub mod bme680;
#[cfg(feature = "tokio")]
pub mod contact;
#[cfg(feature = "tokio")]
pub mod counter;
pub(crate) mod crc8;
pub mod ds18b20;
#[cfg(feature = "tokio")]
pub mod hcsr04;
pub mod hx711;
mod i2c_commands;
mod i2c_registers;
pub mod ina219;
#[cfg(feature = "tokio")]
pub mod led;
pub mod mcp9808;
#[cfg(feature = "tokio")]
pub mod motion;
#[cfg(feature = "tokio")]
mod params;
#[cfg(feature = "tokio")]
pub mod pca9685;
#[cfg(feature = "tokio")]
pub mod relay;
pub mod scd4x;
#[cfg(feature = "tokio")]
pub mod servo;
pub mod sht;
#[cfg(feature = "tokio")]
mod state_file;
pub mod system;

pub use i2c_commands::I2cCommands;
pub use i2c_registers::I2cRegisters;

/// A sensor that blocks its thread during a measurement: the blocking counterpart of [`iotpi_core::Sensor`].
/// `blocking::Blocking` makes a `Sensor` of it (feature `tokio`).
///
/// ```
/// use iotpi_core::{DeviceError, Quantity, Sample};
/// use iotpi_hal::drivers::BlockingSensor;
///
/// /// The temperature of a zone of the kernel, in a file with thousandths of a degree.
/// struct Zone(std::path::PathBuf);
///
/// impl BlockingSensor for Zone {
///     fn quantities(&self) -> Vec<Quantity> {
///         vec![Quantity::Temperature]
///     }
///
///     fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
///         let millidegrees: f64 = std::fs::read_to_string(&self.0)?.trim().parse()?;
///         Ok(vec![Sample::new(Quantity::Temperature, millidegrees / 1000.0)])
///     }
/// }
/// ```
pub trait BlockingSensor: Send + 'static {
    /// The quantities of the samples [`sense`](Self::sense) returns. They do not change.
    fn quantities(&self) -> Vec<Quantity>;

    /// The series of the samples: the quantities, with their channels. Only a device that measures a quantity
    /// several times implements this.
    fn series(&self) -> Vec<SeriesSpec> {
        self.quantities().into_iter().map(SeriesSpec::new).collect()
    }

    /// Measures once: one sample of each series, in its canonical unit. A quantity that could not be measured
    /// while others could is a sample without data ([`in_range`], [`Sample::no_data`]).
    ///
    /// # Errors
    /// [`DeviceError`] when nothing could be measured. The next call tries again, and resets the device if
    /// necessary.
    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError>;
}

/// A sample of a value in the quantity's canonical unit, or one without data when the value is outside the
/// range of the chip (inclusive) or not a number. The other series of the same read keep their values.
///
/// ```
/// use iotpi_core::Quantity;
/// use iotpi_hal::drivers::in_range;
///
/// assert_eq!(in_range(Quantity::Humidity, 40.0, 0.0..=100.0).outcome.value(), Some(40.0));
/// let reason = in_range(Quantity::Humidity, 118.0, 0.0..=100.0).outcome.reason().map(str::to_owned);
/// assert_eq!(reason.as_deref(), Some("out of range: 118 percent is outside 0 to 100"));
/// ```
#[must_use]
pub fn in_range(series: impl Into<SeriesSpec>, value: f64, range: RangeInclusive<f64>) -> Sample {
    let series = series.into();
    if range.contains(&value) {
        return Sample::new(series, value);
    }
    let (unit, least, most) = (series.quantity.unit(), range.start(), range.end());
    let value = (value * 1000.0).round() / 1000.0;
    let bounds = match *most {
        f64::MAX => format!("below {least}"),
        most => format!("outside {least} to {most}"),
    };
    let message = format!("{value} {} is {bounds}", unit.as_str());
    Sample::no_data(series, DeviceError::new(DeviceErrorKind::OutOfRange, message))
}
