//! The typed client with a real hub: all pages of readings, and readings of a recorder.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use iotpi_core::{HubClient, Quantity, Reading, ReadingFilter, Runner, Sample};
use iotpi_hub::auth::Role;

use crate::support::{
    api::{Api, NOW, id},
    wait::bounded,
};

fn values(readings: &[Reading]) -> Vec<f64> {
    readings.iter().filter_map(|reading| reading.outcome.value()).collect()
}

#[tokio::test]
async fn a_list_is_read_to_its_end_in_pages_of_any_size() {
    let api = Api::with_manual_clock().await;
    let hub = HubClient::new(&api.hub.url()).unwrap().with_token(&api.admin);
    let of = |n: u32| {
        let taken_at = NOW.minus(Duration::from_secs(u64::from(n)));
        Reading::new(id("attic"), Sample::new(Quantity::Temperature, f64::from(n)), taken_at)
    };
    hub.record(&(0..7).map(of).collect::<Vec<_>>()).await.unwrap();
    let sensor = Quantity::Temperature.name();
    let attic = ReadingFilter::of(id("attic"));
    let in_order: Vec<_> = (0..7).map(f64::from).collect();

    let all = hub.readings(&sensor, &attic.clone().limit(3)).all().await.unwrap();
    let streamed: Vec<_> = hub.readings(&sensor, &attic).into_stream().try_collect().await.unwrap();
    let mut one_by_one = Vec::new();
    let mut readings = hub.readings(&sensor, &attic.clone().limit(1));
    while let Some(reading) = readings.next().await.unwrap() {
        one_by_one.push(reading);
    }
    let page = hub.readings(&sensor, &attic.clone().limit(3)).await.unwrap();

    assert_eq!(values(&all), in_order);
    assert_eq!(values(&streamed), in_order);
    assert_eq!(values(&one_by_one), in_order);
    assert_eq!((values(&page.items), page.next.is_some()), (vec![0.0, 1.0, 2.0], true));
    api.stop().await;
}

#[tokio::test]
async fn a_recorder_delivers_numbered_readings_with_the_token_of_an_operator() {
    let api = Api::with_manual_clock().await;
    let hub = HubClient::new(&api.hub.url()).unwrap().with_token(api.token(Role::Operator).await);
    let recorder = Runner::new(hub.uplink(id("doorbell"))).recorder().await.unwrap();

    for n in 0..3_u32 {
        let taken_at = NOW.minus(Duration::from_secs(u64::from(3 - n)));
        recorder.record_at(Sample::new(Quantity::Motion, f64::from(n)), taken_at).await;
    }
    let undelivered = bounded("the delivery", recorder.close()).await;

    assert_eq!(undelivered, 0);
    let filter = ReadingFilter::default().ascending();
    let readings = hub.readings(&Quantity::Motion.name(), &filter).all().await.unwrap();
    assert_eq!(values(&readings), [0.0, 1.0, 2.0]);
    let account = hub.delivery(&id("doorbell")).await.unwrap().total.unwrap();
    assert_eq!((account.expected, account.received, account.lost), (3, 3, 0));
    api.stop().await;
}
