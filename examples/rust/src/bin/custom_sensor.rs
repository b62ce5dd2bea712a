//! Two quantities in one read, one of a custom type. One of them cannot be measured, which is recorded with its reason.

use std::time::Duration;

use iotpi_core::{AnyError, HubClient, Quantity, Runner, Sample, SensorModule, Unit, measure};

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    iotpi_core::log::init();
    let hub = HubClient::from_env()?;
    let level = Quantity::new("water-level".parse()?, Unit::PERCENT);
    let boiler = measure([level.clone(), Quantity::Temperature], async move || {
        Ok(vec![
            Sample::new(level.clone(), 83.0),
            Sample::no_data(Quantity::Temperature, "the probe is not connected"),
        ])
    });
    let module = SensorModule::new(boiler, Duration::from_secs(10));

    Runner::new(hub.uplink("boiler".parse()?)).run(module).await?;
    Ok(())
}
