//! Receives events as they happen, and stops after the first reading.

use std::{env, error::Error};

use iotpi_core::{
    Clock, EventKind, HubClient, LiveMessage, Quantity, Reading, Sample, Subscription, SystemClock,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = HubClient::new(&env::var("IOTPI_URL")?)?.with_token(env::var("IOTPI_TOKEN")?);
    let subscription = Subscription { kinds: Some(vec![EventKind::Reading]), ..Subscription::default() };
    let mut live = hub.live(&subscription).await?;

    while let Some(message) = live.next().await? {
        match message {
            LiveMessage::Recent { readings, .. } => {
                println!("{} series", readings.len());
                let sample = Sample::new(Quantity::Temperature, 20.0);
                hub.record(&[Reading::new("porch".parse()?, sample, SystemClock::new().now())]).await?;
            }
            LiveMessage::Event(event) => {
                println!("{event:?}");
                return Ok(());
            }
            _ => {}
        }
    }
    Ok(())
}
