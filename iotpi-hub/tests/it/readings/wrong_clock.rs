//! A hub whose clock is wrong and is set while it runs.

use std::time::Duration;

use iotpi_core::Timestamp;
use iotpi_hub::{Config, maintenance::Machine, testing::TestHub};
use serde_json::{Value, json};

use crate::support::api::{Api, NOW, NOW_SECS};

const HOUR: Duration = Duration::from_secs(3600);

async fn post(api: &Api, value: f64) {
    api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": value})).ok().await;
}

/// The values of a list with their time sources.
async fn listed(api: &Api, path: &str) -> Vec<(f64, String)> {
    let items = api.get(path).ok().await["items"].clone();
    let source = |item: &Value| item["time_source"].as_str().unwrap_or("module").to_owned();
    items.as_array().unwrap().iter().map(|item| (item["value"].as_f64().unwrap(), source(item))).collect()
}

fn pairs(expected: &[(f64, &str)]) -> Vec<(f64, String)> {
    expected.iter().map(|(value, source)| (*value, (*source).to_owned())).collect()
}

#[tokio::test]
async fn readings_whose_time_the_hub_gave_before_its_clock_was_set_are_marked() {
    let api = Api::with_manual_clock().await;
    let own = json!({"module_id": "attic", "value": 3, "timestamp": NOW_SECS});
    post(&api, 1.0).await;
    api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": 2, "age": 60})).ok().await;
    api.post("/api/sensors/temperature", own).ok().await;

    api.hub.advance(Duration::from_secs(20));
    api.hub.step_to(NOW.plus(10 * HOUR));
    post(&api, 4.0).await;

    let mut readings = listed(&api, "/api/sensors/temperature").await;
    readings.sort_by(|a, b| a.0.total_cmp(&b.0));
    let unsynced = "hub_unsynced";
    assert_eq!(readings, pairs(&[(1.0, unsynced), (2.0, unsynced), (3.0, "module"), (4.0, "hub")]));
    let csv = api.get("/api/sensors/temperature?format=csv").send().await;
    assert_eq!(String::from_utf8_lossy(&csv.body).matches(",hub_unsynced\r\n").count(), 2);
    api.stop().await;
}

#[tokio::test]
async fn a_clock_that_was_set_by_less_than_five_minutes_marks_nothing() {
    let api = Api::with_manual_clock().await;
    post(&api, 1.0).await;

    api.hub.step_to(NOW.plus(Duration::from_secs(300)));

    assert_eq!(listed(&api, "/api/sensors").await, pairs(&[(1.0, "hub")]));
    api.stop().await;
}

#[tokio::test]
async fn readings_of_a_hub_that_was_ahead_hide_nothing_after_its_clock_was_set_back() {
    let api = Api::with_manual_clock().await;
    post(&api, 99.0).await;

    let right = NOW.minus(2 * HOUR);
    api.hub.step_to(right);
    post(&api, 20.0).await;
    api.hub.advance(Duration::from_secs(60));
    post(&api, 21.0).await;

    assert_eq!(listed(&api, "/api/sensors").await, pairs(&[(21.0, "hub")]));
    let newest_first = listed(&api, "/api/sensors/temperature").await;
    assert_eq!(newest_first, pairs(&[(21.0, "hub"), (20.0, "hub")]));
    let explicit = format!("/api/sensors/temperature?until={}", NOW_SECS + 1.0);
    let explicit = listed(&api, &explicit).await;
    assert_eq!(explicit, pairs(&[(99.0, "hub_unsynced"), (21.0, "hub"), (20.0, "hub")]));
    let buckets = api.get("/api/sensors/temperature?bucket=1m").ok().await["items"].clone();
    assert_eq!(buckets.as_array().unwrap().len(), 2, "{buckets}");
    let everything = api.get("/api/sensors/temperature?format=ndjson").send().await;
    assert_eq!(String::from_utf8_lossy(&everything.body).lines().count(), 3);
    api.stop().await;
}

#[tokio::test]
async fn after_a_restart_the_hub_knows_which_times_were_ahead_or_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("hub.db").display());
    let start = async |now: Timestamp| {
        let hub = TestHub::on_machine(Config::default(), &url, Machine::default(), now).await.unwrap();
        Api::of(hub).await
    };
    let api = start(NOW.plus(2 * HOUR)).await;
    post(&api, 99.0).await;
    api.hub.step_to(NOW);
    post(&api, 20.0).await;
    api.stop().await;

    let api = start(NOW.plus(Duration::from_secs(120))).await;

    assert_eq!(listed(&api, "/api/sensors").await, pairs(&[(20.0, "hub")]));
    let until = format!("/api/sensors/temperature?until={}", NOW_SECS + 10_000.0);
    assert_eq!(listed(&api, &until).await, pairs(&[(99.0, "hub_unsynced"), (20.0, "hub")]));
    api.stop().await;
}
