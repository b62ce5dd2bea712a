//! A camera. It captures at its full rate while it has a viewer, and once a second otherwise.

use std::{env, error::Error};

use iotpi_core::{CameraModule, CameraSpec, HubClient, Runner, SystemClock};
use iotpi_hal::camera::testcard::TestCard;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = HubClient::new(&env::var("IOTPI_URL")?)?.with_token(env::var("IOTPI_TOKEN")?);
    let camera = TestCard::new(CameraSpec { width: 640, height: 480, fps: 10.0 }, SystemClock::shared())?;

    Runner::new(hub.uplink("door".parse()?)).run(CameraModule::new(camera)).await?;
    Ok(())
}
