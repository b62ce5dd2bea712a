//! Registration, health and removal of modules.

use std::time::Duration;

use http::Method;
use iotpi_core::Timestamp;
use iotpi_hub::auth::{Caller, Role};
use serde_json::{Value, json};

use crate::support::{
    api::{Api, NOW, NOW_SECS, anonymous, id},
    wait::until,
};

#[tokio::test]
async fn a_module_registers_with_a_manifest_and_is_online() {
    let api = Api::with_manual_clock().await;
    let manifest = json!({
        "version": "0.1.0", "description": "A lamp on GPIO 17",
        "measures": [{"type": "temperature", "unit": "celsius", "every_secs": 60.0}],
        "actions": [{"name": "set", "description": "Switch", "hazardous": false, "params": {"type": "object"}}],
        "camera": {"width": 640, "height": 480, "fps": 12.0}, "heartbeat_secs": 10.0});
    let token = api.module("led").await;

    let module = api.put("/api/modules/led", manifest.clone()).token(&token).ok().await;

    let expected = json!({"id": "led", "manifest": manifest, "health": "online", "last_seen_at": NOW_SECS,
                          "registered_at": NOW_SECS, "state": null, "state_at": null, "delivery": null});
    assert_eq!(module, expected);
    assert_eq!(api.get("/api/modules/led").ok().await, expected);
    assert_eq!(api.get("/api/modules").ok().await, json!({"items": [expected], "next": null}));
    api.stop().await;
}

#[tokio::test]
async fn a_silent_module_is_late_then_offline_and_a_request_brings_it_back() {
    let api = Api::with_manual_clock().await;
    let token = api.register("led", json!({"heartbeat_secs": 10})).await;
    let health = async || api.get("/api/modules/led").ok().await["health"].clone();

    let mut seen = vec![health().await];
    for secs in [26, 40] {
        api.hub.advance(Duration::from_secs(secs));
        seen.push(health().await);
    }
    api.post("/api/modules/led/status", json!({})).token(&token).ok().await;
    seen.push(health().await);
    api.hub.step_to(Timestamp::from_micros(NOW.as_micros() + 3_600_000_000));
    seen.push(health().await);

    assert_eq!(Value::from(seen), json!(["online", "late", "offline", "online", "online"]));
    api.stop().await;
}

#[tokio::test]
async fn a_module_registered_by_an_admin_is_unknown_until_its_first_request() {
    let api = Api::start().await;

    let module = api.put("/api/modules/led", json!({})).ok().await;

    assert_eq!((&module["health"], &module["last_seen_at"]), (&json!("unknown"), &Value::Null));
    api.stop().await;
}

#[tokio::test]
async fn an_unregistered_module_is_created_by_its_first_request() {
    let api = Api::with_config(anonymous()).await;

    let status = api.open(Method::POST, "/api/modules/quiet/status").json(json!({})).ok().await;
    let reading = json!({"module_id": "loud", "value": 1});
    api.open(Method::POST, "/api/sensors/temperature").json(reading).ok().await;

    assert_eq!((&status["registered"], &status["command"]), (&json!(false), &Value::Null));
    let modules = api.get("/api/modules").ok().await;
    let modules: Vec<_> = modules["items"].as_array().unwrap().iter().collect();
    assert_eq!(modules.len(), 2);
    assert!(modules.iter().all(|m| m["manifest"].is_null() && m["health"] == "online"), "{modules:?}");
    api.stop().await;
}

#[tokio::test]
async fn the_last_state_wins_and_is_reported_with_its_time() {
    let api = Api::with_manual_clock().await;
    let token = api.lamp().await;

    for on in [true, false] {
        let receipt =
            api.post("/api/modules/led/status", json!({"state": {"on": on}})).token(&token).ok().await;
        assert_eq!(receipt, json!({"received_at": NOW_SECS, "command": null, "registered": true}));
    }

    let module = api.get("/api/modules/led").ok().await;
    assert_eq!((&module["state"], &module["state_at"]), (&json!({"on": false}), &json!(NOW_SECS)));
    let large = json!({"state": {"text": "x".repeat(16 * 1024)}});
    let problem = api.post("/api/modules/led/status", large).token(&token).problem().await;
    assert_eq!(problem, (413, "too_large".to_owned(), "/state".to_owned()));
    api.stop().await;
}

#[tokio::test]
async fn a_manifest_with_an_invalid_schema_is_rejected_with_a_pointer() {
    let api = Api::start().await;
    let action = |params: Value| json!({"actions": [{"name": "ok"}, {"name": "set", "params": params}]});

    for (params, pointer) in [
        (
            json!({"type": "object", "properties": {"on": {"type": "bool"}}}),
            "/actions/1/params/properties/on/type",
        ),
        (json!({"type": "string"}), "/actions/1/params/type"),
        (json!({"$ref": "https://example.com/schema.json"}), "/actions/1/params/$ref"),
        (json!({"properties": {"a": {"pattern": "("}}}), "/actions/1/params/properties/a/pattern"),
    ] {
        let problem = api.put("/api/modules/led", action(params.clone())).problem().await;

        assert_eq!((problem.0, problem.1.as_str()), (422, "unprocessable"), "{params}");
        assert!(
            problem.2.starts_with("/actions/1/params") && pointer.starts_with(problem.2.as_str()),
            "{problem:?}"
        );
    }
    assert_eq!(api.get("/api/modules/led").problem().await.0, 404);
    api.stop().await;
}

#[tokio::test]
async fn a_manifest_over_its_limits_is_refused() {
    let api = Api::start().await;
    let measures: Vec<_> = (0..65).map(|i| json!({"type": format!("t{i}"), "unit": "x"})).collect();
    let twice = json!([{"type": "t", "unit": "x"}, {"type": "t", "unit": "y"}]);
    let bulky: Vec<_> = (0..8)
        .map(|i| json!({"name": format!("a{i}"), "params": {"type": "object", "title": "x".repeat(9000)}}))
        .collect();

    for (manifest, status) in [
        (json!({"measures": measures}), 413),
        (json!({"actions": bulky}), 413),
        (json!({"measures": twice}), 422),
        (json!({"actions": [{"name": "a"}, {"name": "a"}]}), 422),
        (json!({"heartbeat_secs": 0.5}), 400),
        (json!({"heartbeat_secs": 3601}), 400),
        (json!({"camera": {"width": 0, "height": 1, "fps": 1}}), 400),
        (json!({"description": "x".repeat(501)}), 400),
    ] {
        assert_eq!(api.put("/api/modules/led", manifest.clone()).problem().await.0, status, "{manifest}");
    }
    api.stop().await;
}

#[tokio::test]
async fn removing_a_module_removes_its_series_commands_and_tokens() {
    let api = Api::start().await;
    let token = api.lamp().await;
    api.post("/api/sensors/temperature", json!({"module_id": "led", "value": 1})).token(&token).ok().await;
    let command = api.post("/api/modules/led/control", json!({"action": "set"})).ok().await;

    let removed = api.delete("/api/modules/led").send().await;

    assert_eq!((removed.status, removed.body.len()), (204, 0));
    assert_eq!(api.get("/api/modules/led").problem().await.0, 404);
    assert_eq!(api.get("/api/sensors").ok().await["items"], json!([]));
    assert_eq!(api.get(&format!("/api/commands/{}", command["id"].as_str().unwrap())).problem().await.0, 404);
    assert_eq!(api.get("/api/modules/led").token(&token).problem().await.0, 401);
    assert_eq!(api.delete("/api/modules/led").problem().await.0, 404);
    api.stop().await;
}

#[tokio::test]
async fn the_last_seen_time_of_a_module_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("hub.db").display());
    let hub = iotpi_hub::testing::TestHub::with_store(iotpi_hub::Config::default(), &url).await.unwrap();
    let api = Api::of(hub).await;
    api.lamp().await;
    let before = api.get("/api/modules/led").ok().await;
    api.stop().await;

    let hub = iotpi_hub::testing::TestHub::with_store(iotpi_hub::Config::default(), &url).await.unwrap();
    let api = Api::of(hub).await;

    let after = api.get("/api/modules/led").ok().await;
    assert_eq!(after["last_seen_at"], before["last_seen_at"]);
    api.stop().await;
}

#[tokio::test]
async fn an_abandoned_removal_completes() {
    let api = Api::start().await;
    api.lamp().await;
    let admin = Caller::known("anna".parse().unwrap(), Role::Admin, None);
    let led = id("led");

    let mut removal = Box::pin(api.hub.hub().remove_module(&admin, &led));
    let begun = futures_util::poll!(&mut removal);
    drop(removal);

    assert!(begun.is_pending());
    until("the module is removed", async || api.get("/api/modules/led").send().await.status == 404).await;
    api.stop().await;
}
