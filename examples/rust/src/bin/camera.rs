//! A camera. It captures at its full rate while it has a viewer, and once a second otherwise.

use iotpi_core::{AnyError, CameraModule, CameraSpec, HubClient, Runner, SystemClock};
use iotpi_hal::camera::testcard::TestCard;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    iotpi_core::log::init();
    let hub = HubClient::from_env()?;
    let camera = TestCard::new(CameraSpec::new(640, 480, 10.0), SystemClock::shared())?;

    Runner::new(hub.uplink("door".parse()?)).run(CameraModule::new(camera)).await?;
    Ok(())
}
