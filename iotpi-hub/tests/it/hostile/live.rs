//! Live clients that send and do not read, and clients that watch cameras that do not exist.

use std::time::Duration;

use futures_util::SinkExt as _;
use http::Method;
use iotpi_hub::{Config, Limits};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_tungstenite::tungstenite::Message;

use super::resident_bytes;
use crate::support::{
    api::{Api, NOW_SECS, jpeg},
    live::Live,
    wait::until,
};

const MIB: u64 = 1024 * 1024;

/// A client with a small receive buffer.
async fn connect_with_small_buffer(api: &Api) -> Live {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    Live::over(api, socket.connect(api.hub.address()).await.unwrap()).await
}

/// A client that subscribes to everything and never reads. It has almost no buffer, so that the memory
/// measured is that of the hub.
async fn subscribe_without_reading(api: &Api) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(api.hub.address()).await.unwrap();
    let head = format!(
        "GET /api/live HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        api.hub.address(),
        api.admin,
    );
    let subscribe = br#"{"type":"subscribe","recent":1000}"#;
    let frame = [&[0x81, 0x80 | u8::try_from(subscribe.len()).unwrap(), 0, 0, 0, 0], &subscribe[..]].concat();
    stream.write_all(&[head.as_bytes(), &frame].concat()).await.unwrap();
    stream
}

/// The next message `recent`. Events may precede it: modules that delivered once go offline meanwhile.
async fn receive_recent(live: &mut Live) -> Value {
    loop {
        let message = live.receive().await;
        if message["type"] == "recent" {
            return message;
        }
    }
}

async fn subscribe(live: &mut Live, recent: u32) {
    live.send(json!({"type": "subscribe", "recent": recent})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pings_and_reads_nothing_is_not_read_either() {
    let api = Api::start().await;
    let mut live = Live::connect(&api).await;
    let before = resident_bytes();

    // A masked ping of 120 bytes (RFC 6455, section 5.2), many times.
    let ping = [&[0x89, 0x80 | 120, 0, 0, 0, 0][..], &[7; 120]].concat();
    let flood = ping.repeat(1000);
    let stream = live.0.get_mut();
    let mut sent = 0;
    while sent < 256 * MIB
        && timeout(Duration::from_secs(5), stream.write_all(&flood)).await.is_ok_and(|sent| sent.is_ok())
    {
        sent += flood.len() as u64;
    }

    assert!(sent < 128 * MIB, "the hub read {sent} bytes of pings");
    assert!(resident_bytes().saturating_sub(before) < 64 * MIB);
    assert_eq!(api.get("/api/sensors").send().await.status, 200);
    drop(live);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_cost_little_memory_however_large_the_current_state_is() {
    const CLIENTS: u64 = 300;
    let api = Api::start().await;
    for series in 0..10 {
        let readings: Vec<_> = (0..1000)
            .map(|i| json!({"module_id": format!("m-{series}"), "value": i, "timestamp": NOW_SECS - f64::from(i)}))
            .collect();
        for batch in readings.chunks(500) {
            api.post("/api/sensors/temperature", json!(batch)).ok().await;
        }
    }
    let mut reader = Live::connect(&api).await;
    subscribe(&mut reader, 1000).await;
    assert_eq!(receive_recent(&mut reader).await["readings"].as_array().unwrap().len(), 10_000);
    let mut late = connect_with_small_buffer(&api).await;
    subscribe(&mut late, 1000).await;
    let before = resident_bytes();

    let mut stalled = Vec::new();
    for _ in 0..CLIENTS {
        stalled.push(subscribe_without_reading(&api).await);
    }
    let open = format!("iotpi_live_clients {}", CLIENTS + 2);
    until("every client is connected", async || api.metrics().await.contains(&open)).await;
    // These requests are later than those of the other clients: when they are answered, the hub has had time
    // for the others.
    for _ in 0..3 {
        subscribe(&mut reader, 1000).await;
        receive_recent(&mut reader).await;
    }
    let each = resident_bytes().saturating_sub(before) / CLIENTS;

    println!("{each} bytes for each client that reads nothing");
    // Half of the limit is a margin for memory that the allocator keeps.
    assert!(each < 128 * 1024, "{each} bytes for each client");
    // A client that reads late gets everything.
    let recent = receive_recent(&mut late).await;
    assert_eq!(recent["readings"].as_array().unwrap().len(), 10_000);
    drop(stalled);
    api.stop().await;
}

#[tokio::test]
async fn the_current_state_has_each_series_with_its_readings_oldest_first() {
    let api = Api::with_manual_clock().await;
    for module in ["a", "b"] {
        let readings: Vec<_> = (0..300)
            .map(|i| json!({"module_id": module, "value": i, "timestamp": NOW_SECS - 300.0 + f64::from(i)}))
            .collect();
        api.post("/api/sensors/temperature", json!(readings)).ok().await;
    }
    let mut live = Live::connect(&api).await;

    for recent in [1, 7, 200, 290, 1000] {
        subscribe(&mut live, recent).await;
        // Events of the previous subscription may still arrive.
        let current = receive_recent(&mut live).await;

        let readings = current["readings"].as_array().unwrap();
        for module in ["a", "b"] {
            let of_module = readings.iter().filter(|r| r["module_id"] == module);
            let values: Vec<_> = of_module.map(|r| r["value"].as_f64().unwrap()).collect();
            let first = 300 - recent.min(300);
            assert_eq!(values, (first..300).map(f64::from).collect::<Vec<_>>(), "{recent}");
        }
        assert_eq!(current["modules"].as_array().unwrap().len(), 2);
        assert_eq!(current["cameras"], json!([]));
    }
    api.stop().await;
}

#[tokio::test]
async fn the_pending_events_of_all_stalled_clients_share_one_byte_limit() {
    let limits = Limits { live_backlog_bytes: 256 * 1024, ..Limits::default() };
    let api = Api::with_config(Config { limits, ..Config::default() }).await;
    api.lamp().await;
    let mut live = connect_with_small_buffer(&api).await;
    subscribe(&mut live, 0).await;
    assert_eq!(live.receive().await["type"], "recent");

    // Far fewer events than `live_backlog`, of 15 KB each.
    for i in 0..200 {
        let state = json!({"state": {"i": i, "text": "x".repeat(15_000)}});
        api.post("/api/modules/led/status", state).ok().await;
    }

    let mut message = Value::Null;
    while message["type"] != "resync" {
        message = live.receive().await;
    }
    assert!(message["missed"].as_u64().unwrap() > 0, "{message}");
    api.stop().await;
}

#[tokio::test]
async fn watching_a_module_without_a_camera_uses_no_camera_slot() {
    let limits = Limits { cameras: 2, ..Limits::default() };
    let api = Api::with_config(Config { limits, ..Config::default() }).await;
    let names: Vec<_> = (0..64).map(|i| format!("none-{i}")).collect();
    for name in &names {
        api.register(name, json!({})).await;
    }
    let mut live = Live::connect(&api).await;

    let cameras: Vec<_> = names.iter().map(|name| json!({"module_id": name})).collect();
    live.send(json!({"type": "watch", "cameras": cameras})).await;
    live.send(json!({"type": "time", "client_time": 1})).await;
    assert_eq!(live.receive().await["type"], "time");

    for camera in ["porch", "yard"] {
        let frame = api.call(Method::POST, &format!("/api/camera/frame?module_id={camera}"));
        assert_eq!(frame.jpeg(jpeg(8, 8, 1)).send().await.status, 200, "{camera}");
    }
    let third = api.call(Method::POST, "/api/camera/frame?module_id=attic").jpeg(jpeg(8, 8, 1));
    assert_eq!(third.problem().await.0, 429);
    live.0.send(Message::Close(None)).await.unwrap();
    api.stop().await;
}
