//! Receives events as they happen, and stops after the first reading.

use iotpi_core::{
    AnyError, Clock, HubClient, Quantity, Reading, Sample, SystemClock,
    model::event::{EventKind, LiveMessage, Subscription},
};

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    iotpi_core::log::init();
    let hub = HubClient::from_env()?;
    let subscription = Subscription::new().with_kinds([EventKind::Reading]);
    let mut live = hub.live(&subscription).await?;

    // The subscription is confirmed, so the event of this reading arrives.
    let sample = Sample::new(Quantity::Temperature, 20.0);
    hub.record(&[Reading::new("porch".parse()?, sample, SystemClock::new().now())]).await?;
    while let Some(message) = live.next().await? {
        if let LiveMessage::Event(event) = message {
            println!("{event:?}");
            break;
        }
    }
    Ok(())
}
