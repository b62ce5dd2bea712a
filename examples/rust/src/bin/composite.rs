//! A sensor and an actuator in one module, which runs in one process and has one id.

use std::time::Duration;

use iotpi_core::{
    Actions, ActuatorModule, AnyError, CompositeModule, HubClient, Quantity, Runner, SensorModule, measure,
    module::NoParams,
};

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    iotpi_core::log::init();
    let hub = HubClient::from_env()?;
    let humidity = measure(Quantity::Humidity, async || Ok(61.0));
    let bell = Actions::new(()).action("ring", async |_: &mut (), _: NoParams| {
        println!("ding");
        Ok(())
    });
    let module = CompositeModule::new()
        .with(SensorModule::new(humidity, Duration::from_secs(10)))
        .with(ActuatorModule::new(bell));

    Runner::new(hub.uplink("shed".parse()?)).run(module).await?;
    Ok(())
}
