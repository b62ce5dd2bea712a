//! Simulated chips and pins *below* the drivers, all in one simulated world. Tests and the demo run the
//! production drivers on top of them.
//!
//! Deliberately absent: a simulated sensor that replaces its driver.

mod bme280;
mod bme680;
mod chips;
mod command_chip;
mod ds18b20;
mod fault;
mod hcsr04;
mod hx711;
mod i2c;
#[cfg(feature = "linux")]
mod input;
pub(crate) mod kernel;
mod pin;
mod register_chips;
mod register_map;
pub(crate) mod sysfs;
mod world;

pub use bme280::bme280;
pub use bme680::bme680;
pub use chips::{aht20, bh1750, scd4x, sht};
pub use command_chip::CommandChip;
pub(crate) use ds18b20::SimW1;
pub use ds18b20::{SimDs18b20, SimThermometer};
pub use fault::{Fault, FaultSwitch};
pub use hcsr04::{SimTrigger, hcsr04};
pub use hx711::SimHx711;
pub use i2c::{I2cChip, SimDelay, SimI2c, SimI2cError, Transfer};
#[cfg(feature = "linux")]
pub(crate) use input::SimInput;
pub use pin::{SimPin, SimPinError};
pub use register_chips::{ads1115, ina219, mcp9808, pca9685};
pub use register_map::{RegisterMap, RegisterValue, Registers};
pub use sysfs::SimSysfs;
pub use world::{Weather, World};

use world::unit;

/// Locks the state of a simulated device. A poisoned lock is ignored, so that the panic of one test does not
/// hide behind a second error.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
