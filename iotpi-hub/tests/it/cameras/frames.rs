//! Frame uploads, snapshots and streams.

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use iotpi_core::model::frame::MAX_FRAME_BYTES;
use serde_json::{Value, json};

use crate::support::{
    api::{Api, NOW_SECS, jpeg},
    wait::bounded,
};

impl Api {
    async fn upload(&self, camera: &str, jpeg: Vec<u8>) -> Value {
        self.call(Method::POST, &format!("/api/camera/frame?module_id={camera}")).jpeg(jpeg).ok().await
    }
}

/// Reads a stream until the data satisfies `enough`.
async fn read_until(body: &mut Incoming, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut read = Vec::new();
    while !enough(&read) {
        let frame = bounded("a part", body.frame()).await.expect("the stream ended early").unwrap();
        read.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
    }
    read
}

fn ends_a_part(read: &[u8]) -> bool {
    read.ends_with(b"\r\n--frame\r\n")
}

#[tokio::test]
async fn an_upload_returns_the_viewers_and_its_frame_is_the_snapshot() {
    let api = Api::with_manual_clock().await;
    let frame = jpeg(640, 480, 1000);

    let receipt = api.upload("porch", frame.clone()).await;
    let snapshot = api.get("/api/camera/snapshot").send().await;
    let etag = snapshot.header("etag").to_owned();
    let unchanged = api.get("/api/camera/snapshot").header("if-none-match", &etag).send().await;
    api.upload("porch", frame.clone()).await;
    let changed = api.get("/api/camera/snapshot").header("if-none-match", &etag).send().await;

    assert_eq!(receipt, json!({"viewers": 0, "seq": 1}));
    assert_eq!((snapshot.header("content-type"), &snapshot.body[..]), ("image/jpeg", &frame[..]));
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(changed.status, 200);
    let cameras = api.get("/api/cameras").ok().await;
    assert_eq!(
        cameras["items"],
        json!([{"module_id": "porch", "online": true, "width": 640, "height": 480, "bytes": frame.len(), "fps": 0.0,
                "viewers": 0, "frames": 2, "delivered": 0, "skipped": 0, "missing": 0, "refused": 0, "taken_at": NOW_SECS,
                "captured_at": NOW_SECS, "received_at": NOW_SECS, "latency": {"p50": 0.0, "p99": 0.0}, "age": 0.0,
                "watching": []}])
    );
    api.stop().await;
}

#[tokio::test]
async fn a_viewer_gets_the_newest_frame_at_once_and_then_each_new_one() {
    let api = Api::start().await;
    let (first, second) = (jpeg(8, 8, 100), jpeg(16, 16, 200_000));
    api.upload("camera", jpeg(4, 4, 1)).await;
    api.upload("camera", first.clone()).await;

    let response = api.get("/api/camera/stream").open().await;
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    let mut body = response.into_body();
    let at_once = read_until(&mut body, |read| read.len() > 20 && ends_a_part(read)).await;
    let receipt = api.upload("camera", second.clone()).await;
    let next = read_until(&mut body, ends_a_part).await;

    assert_eq!(content_type, "multipart/x-mixed-replace; boundary=frame");
    let text = String::from_utf8_lossy(&at_once);
    assert!(text.starts_with("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: "), "{text}");
    assert!(text.contains("\r\nX-Timestamp: "), "{text}");
    assert!(at_once.windows(first.len()).any(|w| w == first));
    assert_eq!(receipt, json!({"viewers": 1, "seq": 3}));
    assert!(next.windows(second.len()).any(|w| w == second));
    drop(body);
    api.stop().await;
}

#[tokio::test]
async fn a_stream_waits_for_the_first_frame_of_a_registered_module() {
    let api = Api::start().await;
    api.put("/api/modules/porch", json!({})).ok().await;
    let mut body = api.get("/api/camera/stream?module_id=porch").open().await.into_body();
    read_until(&mut body, |read| read == b"--frame\r\n").await;

    let receipt = api.upload("porch", jpeg(8, 8, 10)).await;

    assert_eq!(receipt["viewers"], 1);
    read_until(&mut body, ends_a_part).await;
    assert_eq!(api.get("/api/camera/stream?module_id=unknown").problem().await.0, 404);
    assert_eq!(api.get("/api/camera/snapshot?module_id=unknown").problem().await.0, 404);
    drop(body);
    api.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_camera_is_removed() {
    let api = Api::start().await;
    api.upload("porch", jpeg(8, 8, 10)).await;
    let mut body = api.get("/api/camera/stream").open().await.into_body();
    read_until(&mut body, |read| read.len() > 20 && ends_a_part(read)).await;

    api.delete("/api/modules/porch").ok().await;

    assert!(bounded("the end of the stream", body.frame()).await.is_none());
    assert_eq!(api.get("/api/camera/snapshot").problem().await.0, 404);
    api.stop().await;
}

#[tokio::test]
async fn with_several_cameras_a_request_has_to_name_one() {
    let api = Api::start().await;
    assert_eq!(api.get("/api/camera/snapshot").problem().await.0, 404);
    api.upload("porch", jpeg(8, 8, 1)).await;
    api.upload("attic", jpeg(8, 8, 2)).await;

    let answer = api.get("/api/camera/snapshot").send().await;

    let problem = answer.problem();
    assert_eq!((answer.status, &problem["choices"]), (400, &json!(["attic", "porch"])));
    assert_eq!(api.get("/api/camera/snapshot?module_id=attic").send().await.body, jpeg(8, 8, 2));
    api.stop().await;
}

#[tokio::test]
async fn a_body_that_is_not_a_jpeg_or_exceeds_the_limits_is_rejected() {
    let api = Api::start().await;
    let post = |body: Vec<u8>| api.call(Method::POST, "/api/camera/frame").jpeg(body);

    for (body, status) in [
        (Vec::new(), 422),
        (b"\x89PNG\r\n\x1a\n".to_vec(), 422),
        (jpeg(8, 8, 10)[..20].to_vec(), 422),
        (jpeg(0, 8, 10), 422),
        (jpeg(8193, 8, 10), 422),
        (jpeg(8, 8, MAX_FRAME_BYTES), 413),
    ] {
        assert_eq!(post(body).problem().await.0, status);
    }
    let largest = jpeg(8192, 8192, 0);
    let filling = MAX_FRAME_BYTES - largest.len();
    assert_eq!(post(jpeg(8192, 8192, filling)).send().await.status, 200);
    let as_text =
        api.call(Method::POST, "/api/camera/frame").header("content-type", "text/plain").body("hello");
    assert_eq!(as_text.problem().await.0, 400);
    let past = api.call(Method::POST, "/api/camera/frame?timestamp=3").jpeg(jpeg(8, 8, 1));
    assert_eq!(past.problem().await.0, 422);
    api.stop().await;
}

#[tokio::test]
async fn a_frame_may_be_sent_in_a_form_and_defaults_to_the_module_of_the_token_or_camera() {
    let api = Api::start().await;
    let module = api.module("porch").await;
    let form = |name: &str, frame: &[u8]| {
        let mut body = Vec::new();
        for (field, value) in
            [("module_id", b"attic".as_slice()), ("timestamp", b"1795473000.5"), (name, frame)]
        {
            body.extend(format!("--x\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n").bytes());
            body.extend(value);
            body.extend(b"\r\n");
        }
        body.extend(b"--x--\r\n");
        let call = api.call(Method::POST, "/api/camera/frame");
        call.header("content-type", "multipart/form-data; boundary=x").body(body)
    };

    form("frame", &jpeg(8, 8, 1)).ok().await;
    form("file", &jpeg(8, 8, 3_000_000)).ok().await;
    api.call(Method::POST, "/api/camera/frame").token(&module).jpeg(jpeg(8, 8, 1)).ok().await;
    api.call(Method::POST, "/api/camera/frame").body(jpeg(8, 8, 1)).ok().await;
    let foreign =
        api.call(Method::POST, "/api/camera/frame?module_id=attic").token(&module).jpeg(jpeg(8, 8, 1));

    assert_eq!(foreign.problem().await.0, 403);
    assert_eq!(form("picture", &jpeg(8, 8, 1)).problem().await.0, 400);
    assert_eq!(form("frame", &jpeg(8, 8, MAX_FRAME_BYTES)).problem().await.0, 413);
    let cameras = api.get("/api/cameras").ok().await;
    let names: Vec<_> = cameras["items"].as_array().unwrap().iter().map(|c| &c["module_id"]).collect();
    assert_eq!(names, ["attic", "camera", "porch"]);
    assert_eq!(
        (&cameras["items"][0]["taken_at"], &cameras["items"][0]["frames"]),
        (&json!(1_795_473_000.5), &json!(2))
    );
    api.stop().await;
}

#[tokio::test]
async fn a_lost_camera_shows_no_signal_and_recovers_by_itself() {
    let api = Api::with_manual_clock().await;
    api.upload("porch", jpeg(8, 8, 1)).await;
    let mut body = api.get("/api/camera/stream").open().await.into_body();
    let present = read_until(&mut body, |read| read.len() > 20 && ends_a_part(read)).await;

    api.hub.advance(std::time::Duration::from_secs(5));
    let lost = read_until(&mut body, ends_a_part).await;
    let again = read_until(&mut body, ends_a_part).await;
    let camera = api.get("/api/cameras").ok().await["items"][0].clone();
    let snapshot = api.get("/api/camera/snapshot").send().await;
    api.upload("porch", jpeg(8, 8, 2)).await;
    let back = next_camera_part(&mut body).await;

    assert!(!has(&present, "X-Signal: none"));
    assert!(has(&lost, "X-Signal: none\r\n") && has(&again, "X-Signal: none\r\n"));
    assert_eq!((&camera["online"], &camera["frames"]), (&json!(false), &json!(1)));
    assert_eq!(snapshot.body, jpeg(8, 8, 1));
    assert!(back.windows(jpeg(8, 8, 2).len()).any(|w| w == jpeg(8, 8, 2)));
    assert_eq!(api.get("/api/cameras").ok().await["items"][0]["online"], true);
    drop(body);
    api.stop().await;
}

fn has(part: &[u8], text: &str) -> bool {
    part.windows(text.len()).any(|w| w == text.as_bytes())
}

/// The next part with a frame of the camera. A no-signal frame may have been sent before it.
async fn next_camera_part(body: &mut Incoming) -> Vec<u8> {
    loop {
        let part = read_until(body, ends_a_part).await;
        if !has(&part, "X-Signal") {
            return part;
        }
    }
}
