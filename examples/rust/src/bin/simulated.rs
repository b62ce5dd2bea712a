//! The driver of a BME280 on a simulated chip, which answers its register reads. On a Pi only the bus differs.

use std::time::Duration;

use iotpi_core::{AnyError, HubClient, Runner, SensorModule, SystemClock};
use iotpi_hal::{
    blocking::Blocking,
    drivers::bme280::{Bme280, Chip, PRIMARY_ADDRESS},
    sim::{self, SimI2c, World},
};

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    iotpi_core::log::init();
    let hub = HubClient::from_env()?;
    let world = World::new(42, SystemClock::shared());
    let bus = SimI2c::new().with_chip(PRIMARY_ADDRESS, sim::bme280(Chip::Bme280, world));
    let delay = bus.delay();
    let sensor = Blocking::new(Bme280::new(bus, delay, PRIMARY_ADDRESS, Chip::Bme280));

    Runner::new(hub.uplink("lab".parse()?)).run(SensorModule::new(sensor, Duration::from_secs(5))).await?;
    Ok(())
}
