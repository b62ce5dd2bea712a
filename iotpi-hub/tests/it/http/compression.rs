//! gzip responses for clients that accept them.

use std::io::Read as _;

use flate2::read::GzDecoder;
use http::Method;
use iotpi_hub::auth::Role;
use serde_json::{Value, json};

use crate::support::api::{Answer, Api};

/// A hub with 500 readings.
async fn with_readings() -> Api {
    let api = Api::start().await;
    let readings: Vec<Value> =
        (0..500).map(|n| json!({"module_id": "attic", "value": n, "timestamp": 1_795_000_000 + n})).collect();
    api.post("/api/sensors/temperature", json!(readings)).ok().await;
    api
}

fn gunzip(answer: &Answer) -> String {
    assert_eq!(answer.headers["content-encoding"], "gzip");
    let mut text = String::new();
    GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn readings_are_compressed_for_a_client_that_accepts_gzip_and_are_the_same_readings() {
    let api = with_readings().await;

    for path in [
        "/api/sensors/temperature?limit=500",
        "/api/sensors/temperature?format=csv",
        "/api/sensors/temperature?format=ndjson",
        "/api/sensors/temperature?bucket=1m&limit=500",
    ] {
        let plain = api.get(path).send().await;
        let compressed = api.get(path).header("accept-encoding", "br;q=1, gzip;q=0.5").send().await;

        assert!(!plain.headers.contains_key("content-encoding"), "{path}");
        assert!(compressed.headers["vary"].to_str().unwrap().contains("accept-encoding"), "{path}");
        assert_eq!(gunzip(&compressed).as_bytes(), plain.body, "{path}");
        assert!(compressed.body.len() * 4 < plain.body.len() || plain.body.len() < 4096, "{path}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_response_is_not_compressed_if_gzip_is_not_accepted_or_the_response_is_short() {
    let api = with_readings().await;

    for (path, accepted) in [
        ("/api/sensors/temperature?limit=500", "br, deflate, zstd"),
        ("/api/sensors/temperature?limit=500", "gzip;q=0, identity"),
        ("/api/sensors/temperature?limit=1", "gzip"),
    ] {
        let answer = api.get(path).header("accept-encoding", accepted).send().await;

        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("content-encoding"), "{path} {accepted}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_response_with_a_secret_is_never_compressed() {
    let api = Api::start().await;
    for n in 0..40 {
        let name = format!("program-{n}");
        api.post("/api/auth/tokens", json!({"name": name, "role": "viewer"})).ok().await;
    }
    let viewer = api.token(Role::Viewer).await;

    for (method, path, body, token) in [
        (Method::POST, "/api/auth/tokens", json!({"name": "one-more", "role": "viewer"}), &api.admin),
        (Method::GET, "/api/auth/tokens", Value::Null, &api.admin),
        (Method::POST, "/api/auth/jwt", json!({}), &viewer),
    ] {
        let call = api.call(method, path).token(token).header("accept-encoding", "gzip");
        let answer = if body.is_null() { call } else { call.json(body) }.send().await;

        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(!answer.headers.contains_key("content-encoding"), "{path}");
    }
    api.stop().await;
}
