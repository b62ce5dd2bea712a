//! The typed live client: a subscription is confirmed before the program continues.

use iotpi_core::{
    HubClient, Quantity, Reading, Sample,
    client::LiveStream,
    model::event::{Event, EventKind, LiveMessage, Subscription},
};

use crate::support::{
    api::{Api, NOW, id},
    wait::bounded,
};

fn reading(value: f64) -> Reading {
    Reading::new(id("attic"), Sample::new(Quantity::Temperature, value), NOW)
}

fn readings_only(recent: u32) -> Subscription {
    Subscription::new().with_kinds([EventKind::Reading]).with_recent(recent)
}

async fn next(live: &mut LiveStream) -> LiveMessage {
    bounded("a live message", live.next()).await.unwrap().expect("the connection is open")
}

/// The values of the next `recent` and of the event after it.
async fn recent_and_event(live: &mut LiveStream) -> (Vec<f64>, f64) {
    let recent = loop {
        if let LiveMessage::Recent { readings, .. } = next(live).await {
            break readings.iter().filter_map(|reading| reading.outcome.value()).collect();
        }
    };
    loop {
        if let LiveMessage::Event(numbered) = next(live).await
            && let Event::Reading { reading } = numbered.event
        {
            return (recent, reading.outcome.value().unwrap());
        }
    }
}

#[tokio::test]
async fn an_event_after_a_confirmed_subscription_is_not_missed() {
    let api = Api::with_manual_clock().await;
    let hub = HubClient::new(&api.hub.url()).unwrap().with_token(&api.admin);

    let mut live = hub.live(&readings_only(5)).await.unwrap();
    hub.record(&[reading(1.0)]).await.unwrap();
    let first = recent_and_event(&mut live).await;
    live.subscribe(&readings_only(1)).await.unwrap();
    hub.record(&[reading(2.0)]).await.unwrap();
    let second = recent_and_event(&mut live).await;

    assert_eq!(first, (vec![], 1.0));
    assert_eq!(second, (vec![1.0], 2.0));
    api.stop().await;
}

#[tokio::test]
async fn a_refused_subscription_is_an_error() {
    let api = Api::start().await;
    let hub = HubClient::new(&api.hub.url()).unwrap().with_token(&api.admin);

    let error = bounded("the answer", hub.live(&readings_only(1_000_000))).await.unwrap_err();

    assert!(!error.kind().is_transient(), "{error}");
    api.stop().await;
}
