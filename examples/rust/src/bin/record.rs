//! Delivers readings without being a module, reads them back, and aggregates them by the hour.

use std::{env, error::Error};

use iotpi_core::{
    BucketWidth, Clock, HubClient, ModuleId, Quantity, Reading, ReadingFilter, Sample, SystemClock,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = HubClient::new(&env::var("IOTPI_URL")?)?.with_token(env::var("IOTPI_TOKEN")?);
    let module: ModuleId = "garden".parse()?;
    let sample = Sample::new(Quantity::Humidity, 48.5);
    let stored = hub.record(&[Reading::new(module.clone(), sample, SystemClock::new().now())]).await?;
    println!("{} stored", stored.stored);

    let filter = ReadingFilter { module_id: Some(module), ..ReadingFilter::default() };
    for reading in hub.readings(&"humidity".parse()?, &filter).await?.items {
        println!("{:?} {}", reading.outcome.value(), reading.quantity.unit());
    }
    for bucket in hub.buckets(&"humidity".parse()?, BucketWidth::Hour, &filter).await?.items {
        println!("average {:?} of {:?} readings", bucket.avg, bucket.count);
    }
    Ok(())
}
