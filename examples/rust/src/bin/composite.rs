//! A sensor and an actuator in one module, which runs in one process and has one id.

use std::{env, error::Error, time::Duration};

use iotpi_core::{
    ActionSpec, Actions, ActuatorModule, CompositeModule, HubClient, Quantity, Runner, SensorModule, measure,
};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = HubClient::new(&env::var("IOTPI_URL")?)?.with_token(env::var("IOTPI_TOKEN")?);

    let humidity = measure(Quantity::Humidity, || async { Ok(61.0) });
    let ring = ActionSpec::new("ring".parse()?, "Rings the bell once", json!({"type": "object"}));
    let bell = Actions::new().on(ring, |_params| Ok(json!({"rang": true})));
    let module = CompositeModule::new()
        .with(SensorModule::new(humidity, Duration::from_secs(10)))
        .with(ActuatorModule::new(bell));

    Runner::new(hub.uplink("shed".parse()?)).run(module).await?;
    Ok(())
}
