//! The example of a store of the program keeps the contract of stores, and a hub works on it.

use std::sync::Arc;

use iotpi_core::SystemClock;
use iotpi_hub::{
    Config, Hub,
    store::{self, Store},
    testing::TestHub,
};
use serde_json::json;
use tokio::sync::broadcast;

use super::tapped_store::TappedStore;
use crate::support::{api::Api, wait::bounded};

async fn fresh() -> (Arc<dyn Store>, impl Sized) {
    let inner = store::open("sqlite::memory:").await.unwrap();
    (Arc::new(TappedStore::new(inner, broadcast::channel(1).0)), ())
}

iotpi_hub::store_contract!(fresh);

#[tokio::test]
async fn a_hub_records_readings_in_the_store_of_its_program() {
    let (recorded, mut readings) = broadcast::channel(16);
    let store = TappedStore::new(store::open("sqlite::memory:").await.unwrap(), recorded);
    let hub = Hub::start(Config::default(), Arc::new(store), SystemClock::shared()).await.unwrap();
    let api = Api::of(TestHub::serve(hub).await.unwrap()).await;

    api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": 21.5})).ok().await;

    let passed_on = bounded("the reading", readings.recv()).await.unwrap();
    assert_eq!((passed_on.module_id.as_str(), passed_on.outcome.value()), ("attic", Some(21.5)));
    let stored = api.get("/api/sensors/temperature?module_id=attic").ok().await;
    assert_eq!(stored["items"][0]["value"], 21.5);
    api.stop().await;
}
