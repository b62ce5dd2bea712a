//! A module with one sensor. It registers, sends a reading every 60 s, and keeps readings while the hub is unreachable.

use std::time::Duration;

use iotpi_core::{AnyError, HubClient, Quantity, Runner, SensorModule, measure};

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    iotpi_core::log::init();
    let hub = HubClient::from_env()?;
    let sensor = measure(Quantity::Temperature, async || Ok(21.5)); // read your sensor here
    let module = SensorModule::new(sensor, Duration::from_secs(60));

    Runner::new(hub.uplink("attic".parse()?)).run(module).await?;
    Ok(())
}
