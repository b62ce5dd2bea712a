//! A module with one sensor. It registers, sends a reading every 60 s, and keeps readings while the hub is unreachable.

use std::{env, error::Error, time::Duration};

use iotpi_core::{HubClient, Quantity, Runner, SensorModule, measure};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = HubClient::new(&env::var("IOTPI_URL")?)?.with_token(env::var("IOTPI_TOKEN")?);
    let sensor = measure(Quantity::Temperature, || async { Ok(21.5) }); // read your sensor here

    Runner::new(hub.uplink("attic".parse()?)).run(SensorModule::new(sensor, Duration::from_secs(60))).await?;
    Ok(())
}
