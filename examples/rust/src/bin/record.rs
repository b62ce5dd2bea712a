//! Records readings without being a module, reads them back, and aggregates them by the hour.

use iotpi_core::{
    AnyError, HubClient, ModuleId, Quantity, ReadingFilter, Runner, Sample, client::BucketWidth,
};

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    iotpi_core::log::init();
    let hub = HubClient::from_env()?;
    let module: ModuleId = "garden".parse()?;
    // Readings are numbered, and kept while the hub is unreachable.
    let recorder = Runner::new(hub.uplink(module.clone())).recorder().await?;
    recorder.record(Sample::new(Quantity::Humidity, 48.5)).await;
    println!("{} not delivered", recorder.close().await);

    let filter = ReadingFilter::of(module);
    let mut readings = hub.readings(&"humidity".parse()?, &filter);
    while let Some(reading) = readings.next().await? {
        println!("{:?} {}", reading.outcome.value(), reading.quantity.unit());
    }
    for bucket in hub.buckets(&"humidity".parse()?, BucketWidth::Hour, &filter).all().await? {
        println!("average {:?} of {:?} readings", bucket.avg, bucket.count);
    }
    Ok(())
}
