//! The contract of drivers as a test suite: it runs a driver on its simulated device, turns faults on and off,
//! and panics with the first rule that the driver breaks.
//!
//! ```
//! use iotpi_core::Quantity;
//! use iotpi_hal::{
//!     blocking::Blocking,
//!     drivers::bme280::{Bme280, Chip, PRIMARY_ADDRESS},
//!     sim::{self, SimI2c, Weather, World},
//!     testing::check_sensor,
//! };
//!
//! # // In a test: #[tokio::test(start_paused = true)]
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let world = World::still(Weather { temperature: 21.5, ..Weather::default() });
//! let bus = SimI2c::new().with_chip(PRIMARY_ADDRESS, sim::bme280(Chip::Bmp280, world));
//! let mut sensor = Blocking::new(Bme280::new(bus.clone(), bus.delay(), PRIMARY_ADDRESS, Chip::Bmp280));
//!
//! let expected = [(Quantity::Temperature, 21.4..=21.6), (Quantity::Pressure, 101_000.0..=102_000.0)];
//! check_sensor(&mut sensor, bus.faults(), expected).await;
//! # });
//! ```
//!
//! Deliberately absent: a time limit. A driver that waits for its device without a limit hangs its test.

mod actuator;
mod camera;
mod sensor;

pub use actuator::check_actuator;
pub use camera::check_camera;
pub use sensor::{SensorContract, check_sensor};

/// Polls a future once and drops it, as a cancelled task does.
async fn cancel<F: Future>(future: F) {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}
