//! The live protocol, as a WebSocket client sees it.

use std::time::Duration;

use futures_util::SinkExt as _;
use http::Method;
use iotpi_hub::{Config, Limits, auth::Role};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error, Message},
};

use crate::support::{
    api::{Api, NOW_SECS, jpeg},
    live::{Live, request},
};

#[tokio::test]
async fn a_subscriber_gets_the_current_state_first_and_then_events() {
    let api = Api::with_manual_clock().await;
    let token = api.lamp().await;
    for i in 0..3 {
        let body =
            json!({"module_id": "led", "value": i, "unit": "celsius", "timestamp": NOW_SECS + f64::from(i)});
        api.post("/api/sensors/temperature", body).ok().await;
    }
    let mut live = Live::connect(&api).await;

    let recent = live.subscribe(json!({"recent": 2})).await;
    api.post("/api/sensors/temperature", json!({"module_id": "led", "value": 9})).ok().await;
    let reading = live.receive().await;
    let command = api.post("/api/modules/led/control", json!({"action": "set"})).ok().await;
    let queued = live.receive().await;
    api.post("/api/modules/led/status", json!({"state": {"on": true}})).token(&token).ok().await;
    let module = live.receive().await;
    api.call(Method::POST, "/api/camera/frame?module_id=led").jpeg(jpeg(8, 8, 1)).ok().await;
    let camera = live.receive().await;
    api.delete("/api/modules/led").ok().await;
    let removed = live.receive().await;

    let values: Vec<_> = recent["readings"].as_array().unwrap().iter().map(|r| &r["value"]).collect();
    assert_eq!((&recent["type"], values), (&json!("recent"), vec![&json!(1.0), &json!(2.0)]));
    assert_eq!(recent["modules"][0]["id"], "led");
    let seq = recent["seq"].as_u64().unwrap();
    assert_eq!((&reading["type"], &reading["reading"]["value"]), (&json!("reading"), &json!(9.0)));
    assert_eq!((&queued["type"], &queued["command"]), (&json!("command"), &command));
    assert_eq!((&module["type"], &module["module"]["state"]), (&json!("module"), &json!({"on": true})));
    assert_eq!((&camera["type"], &camera["camera"]["frames"]), (&json!("camera"), &json!(1)));
    assert_eq!((&removed["type"], &removed["module_id"]), (&json!("module_removed"), &json!("led")));
    let numbers: Vec<_> =
        [&reading, &queued, &module, &camera, &removed].map(|e| e["seq"].as_u64().unwrap()).into();
    assert_eq!(numbers, (seq + 1..=seq + 5).collect::<Vec<_>>());
    api.stop().await;
}

#[tokio::test]
async fn a_filter_passes_what_it_names_and_a_new_one_replaces_it() {
    let api = Api::start().await;
    let post = async |module: &str, sensor: &str| {
        api.post(&format!("/api/sensors/{sensor}"), json!({"module_id": module, "value": 1})).ok().await;
    };
    post("a", "temperature").await;
    post("b", "humidity").await;
    let mut live = Live::connect(&api).await;

    let filter = json!({"kinds": ["reading"], "modules": ["a"], "sensors": ["humidity"], "recent": 5});
    let recent = live.subscribe(filter).await;
    for (module, sensor) in [("a", "temperature"), ("b", "humidity"), ("a", "humidity")] {
        post(module, sensor).await;
    }
    let let_through = live.receive().await;
    let replaced = live.subscribe(json!({"kinds": ["reading"], "recent": 0})).await;
    post("b", "humidity").await;
    let everything = live.receive().await;

    assert_eq!((&recent["readings"], &recent["modules"]), (&json!([]), &json!([])));
    let series = |event: &Value| (event["reading"]["module_id"].clone(), event["reading"]["type"].clone());
    assert_eq!(series(&let_through), (json!("a"), json!("humidity")));
    assert_eq!(replaced["readings"], json!([]));
    assert_eq!(series(&everything), (json!("b"), json!("humidity")));
    api.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_before_the_first_subscribe() {
    let api = Api::start().await;
    let mut live = Live::connect(&api).await;
    api.post("/api/sensors/temperature", json!({"module_id": "a", "value": 1})).ok().await;

    let first = live.subscribe(json!({})).await;

    assert_eq!((&first["type"], first["readings"].as_array().unwrap().len()), (&json!("recent"), 1));
    api.stop().await;
}

#[tokio::test]
async fn an_invalid_message_is_a_problem_and_the_subscription_stays() {
    let api = Api::start().await;
    let mut live = Live::connect(&api).await;
    live.subscribe(json!({"kinds": ["reading"]})).await;

    for (message, kind) in [
        ("hello".to_owned(), "invalid_argument"),
        (json!({"type": "unsubscribe"}).to_string(), "invalid_argument"),
        (json!({"type": "subscribe", "recent": 1001}).to_string(), "invalid_argument"),
        (json!({"type": "subscribe", "modules": ["A"]}).to_string(), "invalid_argument"),
        (json!({"type": "subscribe", "module": ["a"]}).to_string(), "invalid_argument"),
        (json!({"type": "subscribe", "modules": vec!["a"; 65]}).to_string(), "too_large"),
        (json!({"type": "subscribe", "modules": ["x".repeat(16 * 1024)]}).to_string(), "too_large"),
    ] {
        live.0.send(Message::Text(message.clone().into())).await.unwrap();
        let answer = live.receive().await;

        assert_eq!(
            (&answer["type"], &answer["problem"]["kind"]),
            (&json!("problem"), &json!(kind)),
            "{message}"
        );
    }
    api.post("/api/sensors/temperature", json!({"module_id": "a", "value": 1})).ok().await;
    assert_eq!(live.receive().await["type"], "reading");
    api.stop().await;
}

#[tokio::test]
async fn a_slow_client_gets_a_resync_with_the_number_of_missed_events_and_the_current_state() {
    let limits = Limits { live_backlog: 4, ..Limits::default() };
    let api = Api::with_config(Config { limits, ..Config::default() }).await;
    api.lamp().await;
    // A client with a small receive buffer, so that few events fill it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut live = Live::over(&api, socket.connect(api.hub.address()).await.unwrap()).await;
    let first = live.subscribe(json!({"recent": 0})).await["seq"].as_u64().unwrap();
    let state = |i: u32| json!({"state": {"i": i, "text": "x".repeat(15_000)}});

    for i in 0..400 {
        api.post("/api/modules/led/status", state(i)).ok().await;
    }
    let (mut events, resync) = {
        let mut events = 0;
        loop {
            let message = live.receive().await;
            match message["type"].as_str().unwrap() {
                "module" => events += 1,
                _ => break (events, message),
            }
        }
    };
    let mut recent = live.receive().await;
    // The buffer may have filled again.
    while recent["modules"][0]["state"]["i"] != 399 {
        let message = live.receive().await;
        match message["type"].as_str().unwrap() {
            "module" => events += 1,
            "recent" => recent = message,
            _ => {}
        }
    }

    assert_eq!(resync["type"], "resync");
    let missed = resync["missed"].as_u64().unwrap();
    assert!(missed > 0 && resync["seq"].as_u64().unwrap() >= first + missed, "{resync}");
    assert!(events < 400);
    api.stop().await;
}

#[tokio::test]
async fn the_live_connection_requires_at_least_the_role_viewer() {
    let api = Api::start().await;
    let connect = async |token: &str| {
        let stream = TcpStream::connect(api.hub.address()).await.unwrap();
        match client_async(request(&api, token), stream).await {
            Ok(_) => 101,
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(error) => panic!("{error}"),
        }
    };

    assert_eq!(connect(&api.token(Role::Viewer).await).await, 101);
    assert_eq!(connect(&api.module("led").await).await, 403);
    assert_eq!(connect("iotpi_made-up").await, 401);
    assert_eq!(api.get("/api/live").problem().await.0, 400);
    api.stop().await;
}

#[tokio::test]
async fn a_silent_module_is_reported() {
    let api = Api::with_manual_clock().await;
    api.lamp().await;
    let mut live = Live::connect(&api).await;
    live.subscribe(json!({"kinds": ["module"]})).await;

    let mut health = Vec::new();
    for _ in 0..2 {
        api.hub.advance(Duration::from_secs(30));
        health.push(live.receive().await["module"]["health"].clone());
        api.hub.advance(Duration::from_secs(1));
    }

    assert_eq!(health, ["late", "offline"]);
    api.stop().await;
}

#[tokio::test]
async fn the_last_event_of_a_module_is_its_current_state() {
    let api = Api::with_manual_clock().await;
    let token = api.lamp().await;
    let mut live = Live::connect(&api).await;
    live.subscribe(json!({"kinds": ["module"]})).await;

    // Concurrent registrations and reports of one module, followed by a last report.
    let many = (0..40).map(|n| {
        let (api, token) = (&api, &token);
        async move {
            api.post("/api/modules/led/status", json!({"state": {"n": n}})).token(token).ok().await;
            api.put("/api/modules/led", json!({"description": "again"})).token(token).ok().await;
        }
    });
    futures_util::future::join_all(many).await;
    api.post("/api/modules/led/status", json!({"state": {"n": "last"}})).token(&token).ok().await;

    let mut event = live.receive().await;
    while event["module"]["state"]["n"] != "last" {
        event = live.receive().await;
    }
    assert_eq!(event["module"]["manifest"]["description"], "again");
    api.delete("/api/modules/led").ok().await;
    assert_eq!(live.receive().await["type"], "module_removed");
    api.stop().await;
}
