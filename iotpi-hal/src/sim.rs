//! Twins: simulated chips and pins *below* the drivers, fed by one simulated world. The driver that ships
//! runs above them, in every test and in the demo.
//!
//! Deliberately absent: a simulated sensor that answers in its driver's place.

mod bme280;
mod ds18b20;
mod fault;
mod gpio;
mod world;

pub use bme280::{SimBme280, SimDelay, SimI2c, TwinError};
pub use ds18b20::{Ds18b20Twin, TwinThermometer};
pub use fault::{Fault, FaultSwitch};
pub use gpio::{PinError, PinTwin};
pub use world::{Weather, World};

/// The lock of a twin: a test that panicked while it held one must not hide behind the poison.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
