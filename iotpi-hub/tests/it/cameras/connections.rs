//! Many frames on one connection, and the faults of such a connection.

use http::Method;
use iotpi_core::model::frame::MAX_FRAME_BYTES;
use serde_json::json;

use crate::support::{
    api::{Api, jpeg},
    wire::Wire,
};

const FRAME: &str = "/api/camera/frame?module_id=porch";

impl Api {
    /// The number of frames of the camera, and the size of the newest.
    async fn frames_and_size(&self) -> (u64, u64) {
        let camera = &self.get("/api/cameras").ok().await["items"][0];
        (camera["frames"].as_u64().unwrap_or_default(), camera["bytes"].as_u64().unwrap_or_default())
    }
}

#[tokio::test]
async fn frames_on_one_connection_are_acknowledged_one_by_one_before_other_requests() {
    let api = Api::start().await;
    let mut wire = Wire::to(&api.hub).await;

    for seq in 1..=3 {
        let frame = jpeg(64, 48, 100_000 * seq);
        wire.frame(&api.admin, FRAME, &frame).await;
        let (head, receipt) = wire.answer().await;

        assert_eq!((head.status(), receipt), (200, json!({"viewers": 0, "seq": seq})));
        assert_eq!(head.header("content-type"), Some("application/json"));
        assert_eq!(head.header("x-content-type-options"), Some("nosniff"));
        assert!(head.header("x-request-id").is_some() && head.header("date").is_some());
        assert_eq!(api.get("/api/camera/snapshot").send().await.body, frame);
    }
    wire.head("GET /api/cameras", &api.admin, &[]).await;

    let (head, cameras) = wire.answer().await;
    assert_eq!((head.status(), &cameras["items"][0]["frames"]), (200, &json!(3)));
    wire.frame(&api.admin, FRAME, &jpeg(8, 8, 1)).await;
    assert_eq!(wire.answer().await.1["seq"], 4);
    api.stop().await;
}

#[tokio::test]
async fn requests_are_the_same_in_many_small_packets_or_in_one() {
    let api = Api::start().await;
    let frame = jpeg(8, 8, 10);
    let head = format!(
        "POST {FRAME} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nX-Sequence: 1\r\nContent-Length: {}\r\n\r\n",
        api.admin,
        frame.len()
    );
    let request = [head.as_bytes(), &frame].concat();
    let mut crumbs = Wire::to(&api.hub).await;
    let mut at_once = Wire::to(&api.hub).await;

    for byte in &request {
        crumbs.send([*byte]).await;
    }
    at_once.send([&request[..], &request, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat()).await;

    assert_eq!(crumbs.answer().await.0.status(), 200);
    assert_eq!(at_once.answer().await.0.status(), 200);
    assert_eq!(at_once.answer().await.0.status(), 200);
    assert_eq!(at_once.answer().await.1["status"], "ok");
    assert_eq!(api.frames_and_size().await, (3, frame.len() as u64));
    api.stop().await;
}

#[tokio::test]
async fn an_invalid_frame_is_rejected_at_once_and_the_last_valid_one_stays() {
    let api = Api::start().await;
    let good = jpeg(8, 8, 100);
    let mut wire = Wire::to(&api.hub).await;
    wire.frame(&api.admin, FRAME, &good).await;
    wire.answer().await;

    let without_end = &good[..good.len() - 2];
    let header_bomb = [&[0xFF, 0xD8][..], &[0xFF, 0xE0, 0, 2].repeat(1_000_000), &[0xFF, 0xD9]].concat();
    for bad in [without_end, b"GIF89a", &jpeg(65_535, 65_535, 10), &header_bomb] {
        wire.frame(&api.admin, FRAME, bad).await;
        let (head, problem) = wire.answer().await;

        assert_eq!((head.status(), &problem["kind"]), (422, &json!("unprocessable")));
        assert_eq!(head.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["request_id"], head.header("x-request-id").unwrap());
    }
    assert_eq!(api.get("/api/camera/snapshot").send().await.body, good);
    let camera = &api.get("/api/cameras").ok().await["items"][0];
    assert_eq!((&camera["frames"], &camera["refused"]), (&json!(1), &json!(4)));
    wire.frame(&api.admin, FRAME, &good).await;
    assert_eq!(wire.answer().await.0.status(), 200);
    api.stop().await;
}

#[tokio::test]
async fn a_truncated_frame_is_not_published() {
    let api = Api::start().await;
    let good = jpeg(8, 8, 100);
    api.call(Method::POST, FRAME).jpeg(good.clone()).ok().await;
    let mut wire = Wire::to(&api.hub).await;

    wire.head(
        &format!("POST {FRAME}"),
        &api.admin,
        &[("content-type", "image/jpeg"), ("content-length", "5000")],
    )
    .await;
    wire.send(&jpeg(8, 8, 5000)[..4000]).await;
    wire.half_close().await;

    wire.wait_for_close().await;
    assert_eq!(api.frames_and_size().await, (1, good.len() as u64));
    api.stop().await;
}

#[tokio::test]
async fn a_too_large_or_endless_body_is_rejected_and_not_kept() {
    let api = Api::start().await;
    let mut large = Wire::to(&api.hub).await;
    let length = (MAX_FRAME_BYTES + 1).to_string();
    large.head(&format!("POST {FRAME}"), &api.admin, &[("content-length", &length)]).await;
    large.half_close().await;
    assert_eq!(large.answer_head().await.status(), 413);

    let mut endless = Wire::to(&api.hub).await;
    let fields = [("content-type", "image/jpeg"), ("transfer-encoding", "chunked")];
    endless.head(&format!("POST {FRAME}"), &api.admin, &fields).await;
    endless.chunk([0xFF, 0xD8]).await;
    // The hub drains a part of the body, then closes the connection.
    let mebibyte = vec![0; 1024 * 1024];
    let mut sent = 0;
    while sent < 200 && endless.chunk(&mebibyte).await {
        sent += 1;
    }

    assert!(sent < 200, "the hub read 200 MiB of one frame");
    assert_eq!(api.get("/api/cameras").ok().await["items"], json!([]));
    api.stop().await;
}

#[tokio::test]
async fn a_caller_without_permission_gets_the_usual_problem() {
    let api = Api::start().await;
    let module = api.module("attic").await;
    let frame = jpeg(8, 8, 10);

    for (token, path, status) in [
        ("unknown", FRAME, 401),
        (&module[..], FRAME, 403),
        (&api.admin[..], "/api/camera/frame?module_id=a%20b", 400),
        (&api.admin[..], "/api/camera/frame?what=1", 400),
        (&api.admin[..], "/api/camera/frame?timestamp=soon", 400),
        (&api.admin[..], "/api/camera/frame/", 404),
    ] {
        let mut wire = Wire::to(&api.hub).await;
        wire.frame(token, path, &frame).await;
        let (head, problem) = wire.answer().await;

        assert_eq!((head.status(), problem["status"].as_u64()), (status, Some(u64::from(status))), "{path}");
    }
    let mut foreign = Wire::to(&api.hub).await;
    let length = frame.len().to_string();
    foreign
        .head(
            &format!("POST {FRAME}"),
            &api.admin,
            &[("origin", "http://evil.example"), ("content-length", &length)],
        )
        .await;
    foreign.send(&frame).await;
    assert_eq!(foreign.answer().await.0.status(), 403);
    api.stop().await;
}

#[tokio::test]
async fn frame_metadata_is_read_and_invalid_metadata_is_rejected() {
    let api = Api::with_manual_clock().await;
    let post = |fields: &[(&'static str, &str)]| {
        let call = api.call(Method::POST, FRAME).jpeg(jpeg(8, 8, 10));
        fields.iter().fold(call, |call, (name, value)| call.header(name, value))
    };

    post(&[("x-timestamp", "1795472990.5"), ("x-sequence", "7"), ("x-clock-offset", "9.25")]).ok().await;
    post(&[("x-timestamp", "2026-11-23T22:29:50Z"), ("x-sequence", "10"), ("x-clock-offset", "-1")])
        .ok()
        .await;

    let camera = &api.get("/api/cameras").ok().await["items"][0];
    assert_eq!((&camera["missing"], &camera["taken_at"]), (&json!(2), &json!(1_795_472_990.0)));
    assert_eq!(camera["captured_at"], 1_795_472_989.0);
    assert_eq!(camera["latency"], json!({"p50": 0.25, "p99": 11.0}));
    assert_eq!(camera["age"], 11.0);
    for wrong in [("x-sequence", "-1"), ("x-clock-offset", "NaN"), ("x-clock-offset", "late")] {
        assert_eq!(post(&[wrong]).problem().await.0, 400, "{wrong:?}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_connection_closes_on_request_and_when_the_hub_stops() {
    let api = Api::start().await;
    let frame = jpeg(8, 8, 10);
    let length = frame.len().to_string();
    let mut last = Wire::to(&api.hub).await;
    last.head(&format!("POST {FRAME}"), &api.admin, &[("connection", "close"), ("content-length", &length)])
        .await;
    last.send(&frame).await;
    assert_eq!(last.answer().await.0.header("connection"), Some("close"));
    last.wait_for_close().await;
    let mut idle = Wire::to(&api.hub).await;
    idle.frame(&api.admin, FRAME, &frame).await;
    idle.answer().await;

    api.stop().await;

    idle.wait_for_close().await;
}

#[tokio::test]
async fn a_camera_that_stalls_within_a_frame_does_not_delay_the_shutdown() {
    let api = Api::start().await;
    let mut wire = Wire::to(&api.hub).await;
    wire.frame(&api.admin, FRAME, &jpeg(8, 8, 10)).await;
    wire.answer().await;
    wire.head(&format!("POST {FRAME}"), &api.admin, &[("content-length", "5000")]).await;
    wire.send(&jpeg(8, 8, 5000)[..100]).await;

    // The hub stops before the minute in which the body may arrive, because it closes the connection.
    tokio::time::timeout(std::time::Duration::from_secs(30), api.stop()).await.expect("the hub did not stop");

    wire.wait_for_close().await;
}

#[tokio::test]
async fn a_frame_may_be_chunked() {
    let api = Api::start().await;
    let frame = jpeg(8, 8, 100_000);
    let mut wire = Wire::to(&api.hub).await;

    let fields = [("content-type", "image/jpeg"), ("transfer-encoding", "chunked")];
    wire.head(&format!("POST {FRAME}"), &api.admin, &fields).await;
    for piece in frame.chunks(9_999) {
        wire.chunk(piece).await;
    }
    wire.chunk([]).await;

    assert_eq!(wire.answer().await.0.status(), 200);
    assert_eq!(api.get("/api/camera/snapshot").send().await.body, frame);
    api.stop().await;
}
