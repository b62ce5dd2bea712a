//! Two hubs in one process share nothing.

use axum::Router;
use http::Method;
use iotpi_core::SystemClock;
use iotpi_hub::{Config, Hub, store, testing::TestHub};
use serde_json::json;

use super::{Server, embedded};
use crate::support::{api::Api, live::Live};

async fn start(folder: &tempfile::TempDir) -> Api {
    let store = format!("sqlite://{}/hub.db", folder.path().display());
    Api::of(TestHub::opened(Config { store, ..Config::default() }).await.unwrap()).await
}

async fn record(api: &Api, value: f64) {
    api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": value})).ok().await;
}

async fn value(api: &Api) -> serde_json::Value {
    api.get("/api/sensors/temperature?module_id=attic").ok().await["items"][0]["value"].clone()
}

#[tokio::test]
async fn two_hubs_keep_their_own_data_and_stop_one_by_one() {
    let (north, south) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (start(&north).await, start(&south).await);
    let mut events = Live::connect(&second).await;
    events.subscribe(json!({"kinds": ["reading"]})).await;

    record(&first, 1.0).await;
    record(&second, 2.0).await;

    assert_eq!((value(&first).await, value(&second).await), (json!(1.0), json!(2.0)));
    let foreign = second.get("/api/modules").token(&first.admin).send().await;
    assert_eq!(foreign.status, 401);
    loop {
        let message = events.receive().await;
        if message["type"] == "reading" {
            assert_eq!(message["reading"]["value"], 2.0, "{message}");
            break;
        }
    }

    first.stop().await;

    record(&second, 3.0).await;
    second.stop().await;
    let (first, second) = (start(&north).await, start(&south).await);
    assert_eq!((value(&first).await, value(&second).await), (json!(1.0), json!(3.0)));
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn two_hubs_of_one_program_are_below_different_paths_of_one_port() {
    for server in Server::ALL {
        share_a_port(server).await;
    }
}

async fn share_a_port(server: Server) {
    let store = store::open("sqlite::memory:").await.unwrap();
    let south = Hub::start(Config::default(), store, SystemClock::shared()).await.unwrap();
    let other = south.clone();
    let both = |north: &Hub| {
        Router::new().nest_service("/north", north.router()).nest_service("/south", south.router())
    };
    let api = embedded(Config::default(), server, both).await;

    api.post("/north/api/sensors/temperature", json!({"module_id": "attic", "value": 1})).ok().await;
    let foreign = api.get("/south/api/modules").send().await;

    assert_eq!(foreign.status, 401);
    for path in ["/north", "/south"] {
        let page = api.open(Method::GET, path).header("accept", "text/html").send().await;
        if cfg!(feature = "dashboard") {
            let script = format!("\"{path}/_app/");
            assert!(String::from_utf8_lossy(&page.body).contains(&script), "{path}");
        }
    }
    other.shutdown().await.unwrap();
    assert_eq!(api.get("/south/api/modules").send().await.status, 503, "{server:?}");
    assert_eq!(api.get("/north/api/modules").send().await.status, 200);
    api.stop().await;
}
