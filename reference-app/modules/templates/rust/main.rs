//! The module `my-module`: a reading every 60 s.

use std::time::Duration;

use iotpi_core::{AnyError, HubClient, Quantity, Runner, Sensor, SensorModule, measure};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), AnyError> {
    iotpi_core::log::init();
    // IOTPI_URL and IOTPI_TOKEN.
    let hub = HubClient::from_env()?;
    Runner::new(hub.uplink("my-module".parse()?)).run(module()).await?;
    Ok(())
}

fn module() -> SensorModule<impl Sensor + 'static> {
    // Read your sensor here. An error is recorded as a failed reading, with its reason: never return an invented value.
    let sensor = measure(Quantity::Temperature, async || Ok(21.5));
    SensorModule::new(sensor, Duration::from_secs(60)).described("A new module")
}

#[cfg(test)]
mod tests {
    use iotpi_core::testing::RecordingUplink;

    use super::*;

    #[tokio::test]
    async fn the_module_records_a_temperature() -> Result<(), AnyError> {
        let hub = RecordingUplink::new("my-module".parse()?);

        Runner::new(hub.clone()).once(module()).await?;

        assert_eq!(hub.readings()[0].quantity, Quantity::Temperature);
        assert_eq!(hub.readings()[0].outcome.value(), Some(21.5));
        Ok(())
    }
}
