//! A sensor with two quantities, one of a custom type. One of them cannot be measured, which is recorded with its reason.

use std::{env, error::Error, time::Duration};

use iotpi_core::{
    DeviceError, HubClient, Quantity, Runner, Sample, Sensor, SensorModule, SensorType, Unit, async_trait,
};

struct Boiler {
    level: Quantity,
}

#[async_trait]
impl Sensor for Boiler {
    fn quantities(&self) -> Vec<Quantity> {
        vec![self.level.clone(), Quantity::Temperature]
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        Ok(vec![
            Sample::new(self.level.clone(), 83.0),
            Sample::no_data(Quantity::Temperature, "the probe is not connected"),
        ])
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = HubClient::new(&env::var("IOTPI_URL")?)?.with_token(env::var("IOTPI_TOKEN")?);
    let boiler = Boiler { level: Quantity::new(SensorType::new("water-level")?, Unit::PERCENT) };

    Runner::new(hub.uplink("boiler".parse()?))
        .run(SensorModule::new(boiler, Duration::from_secs(10)))
        .await?;
    Ok(())
}
