//! A client that uses all it can of a shared resource: series, modules, readings, registrations.

use std::time::Duration;

use iotpi_hub::{Config, Limits, auth::Role, testing::TestHub};
use serde_json::{Value, json};

use crate::support::api::{Api, NOW, anonymous};

async fn with_limits(limits: Limits) -> Api {
    let config = Config { limits, ..Config::default() };
    Api::of(TestHub::with_manual_clock(config, NOW).await.unwrap()).await
}

fn readings(module: &str, types: std::ops::Range<u32>) -> Value {
    types.map(|i| json!({"module_id": module, "type": format!("t{i}"), "unit": "x", "value": 1})).collect()
}

#[tokio::test]
async fn a_module_with_many_series_does_not_use_the_quota_of_others() {
    let api = with_limits(Limits { series: 400, ..Limits::default() }).await;
    let (hostile, honest) = (api.module("hostile").await, api.module("honest").await);

    api.post("/api/sensors", readings("hostile", 0..256)).token(&hostile).ok().await;
    let more = api.post("/api/sensors", readings("hostile", 255..257)).token(&hostile).send().await;

    assert_eq!((more.status, more.problem()["kind"].as_str()), (429, Some("rate_limited")));
    api.post("/api/sensors", readings("hostile", 0..10)).token(&hostile).ok().await;
    api.post("/api/sensors", readings("honest", 0..10)).token(&honest).ok().await;
    let usage = api.get("/api/modules/hostile/usage").token(&hostile).ok().await;
    assert_eq!(usage["series"], json!({"used": 256, "limit": 256}));
    assert_eq!(api.get("/api/modules/hostile/usage").token(&honest).problem().await.0, 403);
    api.stop().await;
}

#[tokio::test]
async fn only_the_module_that_delivers_too_much_has_to_wait() {
    let api = with_limits(Limits { readings_per_minute: 1000, ..Limits::default() }).await;
    let (hostile, honest) = (api.module("hostile").await, api.module("honest").await);
    let many: Vec<_> = (0..1000).map(|i| json!({"module_id": "hostile", "value": i})).collect();
    let deliver = || api.post("/api/sensors/temperature", json!(many)).token(&hostile);

    deliver().ok().await;
    let refused = deliver().send().await;

    assert_eq!(refused.status, 429);
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let reading = json!({"module_id": "honest", "value": 1});
    api.post("/api/sensors/temperature", reading).token(&honest).ok().await;
    api.hub.advance(Duration::from_secs(wait));
    deliver().ok().await;
    assert_eq!(api.get("/api/modules/hostile/usage").ok().await["readings_per_minute"]["limit"], 1000);
    let metrics = api.get("/metrics").send().await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(metrics.contains("iotpi_quota_refused_total{quota=\"readings\"} 1\n"), "{metrics}");
    api.stop().await;
}

#[tokio::test]
async fn a_caller_can_create_only_a_few_modules_at_once() {
    let api = with_limits(Limits { new_modules_per_minute: 10, ..Limits::default() }).await;
    let operator = api.token(Role::Operator).await;
    let reading = |i: u32| json!({"module_id": format!("m{i}"), "value": 1});
    let deliver = |i: u32| api.post("/api/sensors/temperature", reading(i)).token(&operator);

    for i in 0..10 {
        deliver(i).ok().await;
    }
    let refused = deliver(10).send().await;

    assert_eq!(refused.status, 429);
    assert!(refused.headers.contains_key("retry-after"));
    deliver(0).ok().await;
    let mut many: Vec<_> = (20..30).map(reading).collect();
    let other = api.token(Role::Operator).await;
    api.post("/api/sensors/temperature", json!(many)).token(&other).ok().await;
    many = (30..41).map(reading).collect();
    let third = api.token(Role::Operator).await;
    assert_eq!(api.post("/api/sensors/temperature", json!(many)).token(&third).send().await.status, 429);
    let own = api.module("own").await;
    api.post("/api/modules/own/status", json!({})).token(&own).ok().await;
    api.hub.advance(Duration::from_secs(7));
    deliver(10).ok().await;
    api.stop().await;
}

#[tokio::test]
async fn a_quarter_of_the_module_quota_is_reserved_for_modules_with_their_own_token() {
    let config = Config { limits: Limits { modules: 8, series: 8, ..Limits::default() }, ..anonymous() };
    let api = Api::of(TestHub::with_manual_clock(config, NOW).await.unwrap()).await;
    let deliver = |i: u32| {
        let reading = json!({"module_id": format!("m{i}"), "value": 1});
        api.open(http::Method::POST, "/api/sensors/temperature").json(reading)
    };

    for i in 0..6 {
        deliver(i).ok().await;
    }

    assert_eq!(deliver(6).send().await.status, 429);
    let own = api.module("own").await;
    api.post("/api/sensors/temperature", json!({"module_id": "own", "value": 1})).token(&own).ok().await;
    api.stop().await;
}

#[tokio::test]
async fn a_module_that_registers_too_often_is_rate_limited() {
    let api = with_limits(Limits::default()).await;
    let token = api.module("led").await;
    let register = || api.put("/api/modules/led", json!({"actions": []})).token(&token);

    for _ in 0..60 {
        register().ok().await;
    }

    assert_eq!(register().send().await.status, 429);
    api.hub.advance(Duration::from_secs(1));
    register().ok().await;
    api.stop().await;
}

#[tokio::test]
async fn manifest_and_state_have_a_configured_size() {
    let api = with_limits(Limits { manifest_bytes: 1024, state_bytes: 256, ..Limits::default() }).await;
    let token = api.module("led").await;
    let register = |text: usize| {
        let actions = json!([{"name": "set", "params": {"type": "object", "title": "x".repeat(text)}}]);
        api.put("/api/modules/led", json!({"actions": actions})).token(&token)
    };
    let report = |text: usize| {
        api.post("/api/modules/led/status", json!({"state": {"text": "x".repeat(text)}})).token(&token)
    };

    register(500).ok().await;
    report(100).ok().await;

    assert_eq!(register(1024).problem().await.0, 413);
    assert_eq!(report(256).problem().await.0, 413);
    let usage = api.get("/api/modules/led/usage").ok().await;
    assert_eq!(usage["state_bytes"], json!({"used": 111, "limit": 256}));
    assert!(usage["manifest_bytes"]["used"].as_u64().unwrap() > 500);
    api.stop().await;
}
