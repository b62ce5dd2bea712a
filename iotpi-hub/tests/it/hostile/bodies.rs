//! Request bodies that are announced and do not arrive, or arrive slowly.
//!
//! A body that has to wait for its budget is refused after 4 s, and a body that does not arrive after 5 s. So
//! a request that is stored while bodies are withheld did not share their budget.

use http::Method;
use serde_json::json;

use crate::support::{
    api::{Api, jpeg},
    wire::Wire,
};

/// Sends the head of a request and the first bytes of its body.
async fn announce(api: &Api, request: &str, fields: &[(&str, &str)], token: &str, first: &[u8]) -> Wire {
    let mut wire = Wire::to(&api.hub).await;
    wire.head(request, token, fields).await;
    wire.send(first).await;
    wire
}

#[tokio::test]
async fn withheld_bodies_do_not_block_the_readings_of_other_modules() {
    let api = Api::start().await;
    let (honest, stolen) = (api.module("shed").await, api.module("attic").await);
    let length = (256 * 1024).to_string();
    let fields = [("content-type", "application/json"), ("content-length", length.as_str())];
    let mut withheld = Vec::new();

    for token in [stolen.as_str(), "not-a-token"] {
        for first in [b"".as_slice(), b"["] {
            for _ in 0..40 {
                withheld.push(announce(&api, "POST /api/sensors", &fields, token, first).await);
            }
        }
    }

    let reading = json!({"module_id": "shed", "value": 1, "unit": "celsius"});
    api.post("/api/sensors/temperature", reading).token(&honest).ok().await;
    drop(withheld);
    api.stop().await;
}

#[tokio::test]
async fn withheld_frames_do_not_block_the_frames_of_other_cameras() {
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
    let mut withheld = Vec::new();

    for _ in 0..12 {
        withheld.push(announce(&api, "POST /api/camera/frame", &plain, &stolen, &[0xFF]).await);
        withheld.push(announce(&api, "POST /api/camera/frame", &form, &stolen, b"--x").await);
        withheld.push(announce(&api, "POST /api/camera/frame", &chunked, &stolen, b"1\r\n\xFF\r\n").await);
        withheld.push(announce(&api, "POST /api/camera/stream", &pushed, &stolen, part.as_bytes()).await);
    }

    api.call(Method::POST, "/api/camera/frame").token(&honest).jpeg(jpeg(64, 48, 300_000)).ok().await;
    drop(withheld);
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
