//! Bodies that are announced and do not arrive, or arrive slowly.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::support::{
    api::{Api, jpeg},
    wire::Wire,
};

/// Sends the head of a delivery that announces this many bytes, and the first ones of its body.
async fn announce(api: &Api, request: &str, fields: &[(&str, &str)], token: &str, first: &[u8]) -> Wire {
    let mut wire = Wire::to(&api.hub).await;
    wire.head(request, token, fields).await;
    wire.send(first).await;
    wire
}

/// A reading of a module that does nothing wrong is stored at once.
async fn assert_a_reading_is_stored(api: &Api, token: &str) {
    let begun = Instant::now();
    api.post("/api/sensors/temperature", json!({"module_id": "shed", "value": 1, "unit": "celsius"}))
        .token(token)
        .ok()
        .await;
    // A turn that had to be waited for would be over after 4 s at the earliest.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn announced_bodies_do_not_block_other_deliveries() {
    let api = Api::start().await;
    let (honest, stolen) = (api.module("shed").await, api.module("attic").await);
    let length = (256 * 1024).to_string();
    let fields = [("content-type", "application/json"), ("content-length", length.as_str())];
    let mut held = Vec::new();

    for token in [stolen.as_str(), "not-a-token"] {
        for first in [b"".as_slice(), b"["] {
            for _ in 0..40 {
                held.push(announce(&api, "POST /api/sensors", &fields, token, first).await);
            }
        }
    }

    assert_a_reading_is_stored(&api, &honest).await;
    drop(held);
    api.stop().await;
}

#[tokio::test]
async fn announced_frames_do_not_block_the_frames_of_other_cameras() {
    let api = Api::start().await;
    let (honest, stolen) = (api.module("porch").await, api.module("attic").await);
    let length = (8 * 1024 * 1024).to_string();
    let plain = [("content-type", "image/jpeg"), ("content-length", length.as_str())];
    let form = [("content-type", "multipart/form-data; boundary=x"), ("content-length", length.as_str())];
    let chunked = [("content-type", "image/jpeg"), ("transfer-encoding", "chunked")];
    let pushed =
        [("content-type", "multipart/x-mixed-replace; boundary=x"), ("transfer-encoding", "chunked")];
    let part = format!("--x\r\ncontent-length: {length}\r\n\r\n\u{1}\u{2}");
    let part = format!("{:x}\r\n{part}\r\n1\r\nx\r\n", part.len());
    let mut held = Vec::new();

    for _ in 0..12 {
        held.push(announce(&api, "POST /api/camera/frame", &plain, &stolen, &[0xFF]).await);
        held.push(announce(&api, "POST /api/camera/frame", &form, &stolen, b"--x").await);
        held.push(announce(&api, "POST /api/camera/frame", &chunked, &stolen, b"1\r\n\xFF\r\n").await);
        held.push(announce(&api, "POST /api/camera/stream", &pushed, &stolen, part.as_bytes()).await);
    }

    let begun = Instant::now();
    api.call(Method::POST, "/api/camera/frame").token(&honest).jpeg(jpeg(64, 48, 300_000)).ok().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    drop(held);
    api.stop().await;
}

#[tokio::test]
async fn a_slow_body_is_rejected() {
    let api = Api::start().await;
    let token = api.module("attic").await;
    let json = [("content-type", "application/json"), ("content-length", "100000")];
    let frame = [("content-type", "image/jpeg"), ("content-length", "100000")];
    let form = [("content-type", "multipart/form-data; boundary=x"), ("content-length", "100000")];

    let mut wires = [
        announce(&api, "POST /api/sensors", &json, &token, b"[").await,
        announce(&api, "POST /api/camera/frame", &frame, &token, &[0xFF]).await,
        announce(&api, "POST /api/camera/frame", &form, &token, b"--x").await,
        announce(&api, "POST /api/auth/login", &[json[0], ("content-length", "8000")], &token, b"{").await,
    ];

    for wire in &mut wires {
        let (head, problem) = wire.answer().await;
        assert_eq!((head.status(), &problem["kind"]), (400, &json!("invalid_argument")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("8 KiB/s"), "{problem}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_body_without_credentials_has_a_small_limit() {
    let api = Api::start().await;

    let long = json!({"name": "anna", "password": "x".repeat(9 * 1024)});
    let answer = api.open(Method::POST, "/api/auth/login").json(long).problem().await;

    assert_eq!((answer.0, answer.1.as_str()), (413, "too_large"));
    api.stop().await;
}
