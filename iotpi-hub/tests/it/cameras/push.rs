//! Frames pushed in one request.

use serde_json::{Value, json};

use crate::support::{
    api::{Api, jpeg},
    wire::Wire,
};

const PUSH: &str = "POST /api/camera/stream?module_id=porch";
const FIELDS: [(&str, &str); 2] =
    [("content-type", "multipart/x-mixed-replace; boundary=x"), ("transfer-encoding", "chunked")];

fn part(jpeg: &[u8], fields: &str) -> Vec<u8> {
    let head = format!("--x\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n{fields}\r\n", jpeg.len());
    [head.as_bytes(), jpeg, b"\r\n"].concat()
}

impl Api {
    /// An open stream with its first receipt.
    async fn push(&self, first: &[u8]) -> (Wire, Value) {
        let mut wire = Wire::to(&self.hub).await;
        wire.head(PUSH, &self.admin, &FIELDS).await;
        wire.chunk(part(first, "")).await;
        let head = wire.answer_head().await;
        assert_eq!((head.status(), head.header("content-type")), (200, Some("application/x-ndjson")));
        let receipt = wire.line().await.unwrap();
        (wire, receipt)
    }

    async fn newest(&self) -> Vec<u8> {
        self.get("/api/camera/snapshot").send().await.body.to_vec()
    }
}

#[tokio::test]
async fn frames_are_published_as_they_arrive_and_receipts_count_the_viewers() {
    let api = Api::start().await;
    let (mut wire, first) = api.push(&jpeg(8, 8, 1)).await;
    assert_eq!(first, json!({"viewers": 0, "seq": 1}));

    let viewer = api.get("/api/camera/stream").open().await;
    assert_eq!(wire.line().await.unwrap()["viewers"], 1);
    let second = jpeg(16, 16, 200_000);
    for piece in part(&second, "X-Sequence: 5\r\nX-Timestamp: 1795473000.5\r\n").chunks(7_001) {
        wire.chunk(piece).await;
    }
    drop(viewer);

    let receipt = wire.line().await.unwrap();
    assert_eq!(receipt["viewers"], 0);
    wire.chunk(part(&jpeg(8, 8, 3), "X-Sequence: 8\r\n")).await;
    wire.chunk(b"--x--\r\n").await;
    assert_eq!(wire.line().await, None);
    let camera = &api.get("/api/cameras").ok().await["items"][0];
    assert_eq!(
        (&camera["frames"], &camera["missing"], &camera["bytes"]),
        (&json!(3), &json!(2), &json!(jpeg(8, 8, 3).len()))
    );
    api.stop().await;
}

#[tokio::test]
async fn parts_without_a_length_end_at_the_boundary() {
    let api = Api::start().await;
    let (mut wire, _) = api.push(&jpeg(8, 8, 1)).await;
    let second = jpeg(8, 8, 70_000);

    wire.chunk([b"--x\r\nContent-Type: image/jpeg\r\n\r\n", &second[..], b"\r\n--x--"].concat()).await;
    wire.chunk(b"\r\n").await;

    assert_eq!(wire.line().await, None);
    assert_eq!(api.newest().await, second);
    api.stop().await;
}

#[tokio::test]
async fn an_invalid_frame_is_reported_once_and_the_stream_continues() {
    let api = Api::start().await;
    let good = jpeg(8, 8, 1);
    let (mut wire, _) = api.push(&good).await;

    for (bad, fields, kind) in [
        (&b"GIF89a"[..], "", "unprocessable"),
        (&jpeg(65_535, 65_535, 1), "", "unprocessable"),
        (&good[..], "X-Sequence: -1\r\n", "invalid_argument"),
    ] {
        // A part that does not end like a JPEG is rejected when the next boundary arrives.
        wire.chunk(part(bad, fields).repeat(5)).await;
        wire.chunk("--x\r\n").await;
        assert_eq!(wire.line().await.unwrap()["problem"]["kind"], kind);
    }

    assert_eq!(api.newest().await, good);
    wire.chunk(part(&jpeg(8, 8, 2), "")).await;
    wire.chunk(part(b"GIF89a", "")).await;
    wire.chunk(b"--x--\r\n").await;
    assert_eq!(wire.line().await.unwrap()["problem"]["kind"], "unprocessable");
    assert_eq!(wire.line().await, None);
    let camera = &api.get("/api/cameras").ok().await["items"][0];
    assert_eq!(camera["frames"], 2);
    assert!(camera["refused"].as_u64() >= Some(16), "{camera}");
    api.stop().await;
}

/// Invalid parts, each with the data up to the next boundary.
fn bad_parts() -> Vec<(&'static str, Vec<u8>)> {
    let cut = part(&jpeg(64, 48, 5000)[..2000], "");
    let frame = jpeg(8, 8, 100);
    let length = |value: &str| {
        [format!("--x\r\nContent-Length: {value}\r\n\r\n").as_bytes(), &b"no JPEG"[..], b"\r\n"].concat()
    };
    vec![
        ("cut off", cut),
        (
            "cut off and its length not",
            [b"--x\r\nContent-Length: 900\r\n\r\n", &frame[..50], b"\r\n"].concat(),
        ),
        ("truncated and without a length", [b"--x\r\n\r\n", &frame[..50], b"\r\n"].concat()),
        ("empty", part(b"", "")),
        ("empty and without a length", b"--x\r\n\r\n\r\n".to_vec()),
        ("text", b"--x\r\nContent-Type: text/plain\r\n\r\nkeep-alive\r\n".to_vec()),
        ("text with its length", part(b"keep-alive", "")),
        ("a length that is none", length("many")),
        ("a negative length", length("-5")),
        ("a length that is too great", length("99999999")),
        ("a length that is too small", length("3")),
        ("a head without an end", [&b"--x\r\nX: "[..], &[b'x'; 9000], b"\r\n"].concat()),
        ("a head that is not text", b"--x\r\nX: \xFF\xFE\r\n\r\nfoo\r\n".to_vec()),
        ("an invalid sequence", part(&frame, "X-Sequence: first\r\n")),
        ("an invalid offset", part(&frame, "X-Clock-Offset: NaN\r\n")),
    ]
}

#[tokio::test]
async fn invalid_parts_anywhere_in_a_stream_do_not_affect_the_others() {
    let api = Api::start().await;
    let good = part(&jpeg(8, 8, 100), "");

    for (i, (name, bad)) in bad_parts().into_iter().enumerate() {
        for at in 0..3 {
            let camera = format!("c{i}-{at}");
            let parts = [&good[..], &good, &good];
            let (before, after) = parts.split_at(at);
            let stream = [before.concat(), bad.repeat(4), after.concat(), b"--x--\r\n".to_vec()].concat();
            let mut wire = Wire::to(&api.hub).await;
            wire.head(&format!("POST /api/camera/stream?module_id={camera}"), &api.admin, &FIELDS).await;
            wire.chunk(stream).await;
            wire.chunk([]).await;

            assert_eq!(wire.answer_head().await.status(), 200, "{name}");
            let (mut problems, mut receipts) = (0, 0);
            while let Some(line) = wire.line().await {
                problems += usize::from(line["problem"].is_object());
                receipts += usize::from(line["viewers"].is_u64());
            }
            let cameras = api.get("/api/cameras").ok().await;
            let items = cameras["items"].as_array().unwrap();
            let info = items.iter().find(|item| item["module_id"] == camera.as_str()).unwrap();
            assert_eq!((info["frames"].as_u64(), receipts), (Some(3), 1), "{name} at {at}: {info}");
            assert_eq!(info["refused"], 4, "{name} at {at}");
            assert_eq!(problems, 1, "{name} at {at}");
            api.delete(&format!("/api/modules/{camera}")).ok().await;
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a_stream_without_its_last_boundary_publishes_its_last_frame() {
    let api = Api::start().await;
    let last = jpeg(16, 16, 300);

    for head in ["--x\r\n\r\n".to_owned(), format!("--x\r\nContent-Length: {}\r\n\r\n", last.len())] {
        let (mut wire, _) = api.push(&jpeg(8, 8, 1)).await;
        wire.chunk([head.as_bytes(), &last].concat()).await;
        wire.chunk([]).await;

        assert_eq!(wire.line().await, None);
        assert_eq!(api.newest().await, last);
    }
    api.stop().await;
}

#[tokio::test]
async fn a_stream_of_invalid_parts_gets_a_response_and_leaves_no_state() {
    let api = Api::start().await;
    let mut wire = Wire::to(&api.hub).await;
    wire.head(PUSH, &api.admin, &FIELDS).await;

    wire.chunk([part(b"GIF89a", "").repeat(3), b"--x\r\n".to_vec()].concat()).await;

    assert_eq!(wire.answer_head().await.status(), 200);
    assert_eq!(wire.line().await.unwrap()["problem"]["kind"], "unprocessable");
    assert_eq!(wire.line().await.unwrap(), json!({"viewers": 0, "seq": 0}));
    wire.chunk([]).await;
    assert_eq!(wire.line().await, None);
    assert_eq!(api.get("/api/cameras").ok().await["items"], json!([]));
    api.stop().await;
}

#[tokio::test]
async fn a_malformed_stream_gets_a_problem_document() {
    let api = Api::start().await;
    let viewer = api.token(iotpi_hub::auth::Role::Viewer).await;
    let large = part(&vec![0; iotpi_core::model::frame::MAX_FRAME_BYTES + 100], "");

    for (token, content_type, body, status) in [
        (&api.admin, FIELDS[0].1, part(b"GIF89a", ""), 422),
        (&api.admin, FIELDS[0].1, large, 413),
        (&api.admin, FIELDS[0].1, vec![b'x'; 5000], 400),
        (&api.admin, FIELDS[0].1, b"--x--\r\n".to_vec(), 400),
        (&api.admin, "multipart/x-mixed-replace", part(&jpeg(8, 8, 1), ""), 400),
        (&api.admin, "image/jpeg", jpeg(8, 8, 1), 400),
        (&viewer, FIELDS[0].1, part(&jpeg(8, 8, 1), ""), 403),
    ] {
        let mut wire = Wire::to(&api.hub).await;
        wire.head(PUSH, token, &[("content-type", content_type), FIELDS[1]]).await;
        wire.chunk(body).await;
        wire.chunk([]).await;

        let (head, problem) = wire.answer().await;

        assert_eq!(
            (head.status(), problem["status"].as_u64()),
            (status, Some(u64::from(status))),
            "{problem}"
        );
    }
    assert_eq!(api.get("/api/cameras").ok().await["items"], json!([]));
    api.stop().await;
}

#[tokio::test]
async fn the_stream_of_a_removed_camera_ends_and_so_do_all_when_the_hub_stops() {
    let api = Api::start().await;
    let (mut removed, _) = api.push(&jpeg(8, 8, 1)).await;
    api.delete("/api/modules/porch").ok().await;
    assert_eq!(removed.line().await, None);
    let (mut last, _) = api.push(&jpeg(8, 8, 1)).await;

    api.stop().await;

    last.wait_for_close().await;
}

#[tokio::test]
async fn the_hub_returns_the_time_to_any_caller_that_may_deliver() {
    let api = Api::with_manual_clock().await;

    let time = api.get("/api/time").ok().await;

    assert_eq!(time, json!({"hub_time": crate::support::api::NOW_SECS}));
    assert_eq!(api.open(http::Method::GET, "/api/time").problem().await.0, 401);
    api.stop().await;
}

#[tokio::test]
async fn a_fresh_snapshot_is_the_next_frame_and_its_request_counts_as_a_viewer() {
    let api = Api::start().await;
    let (mut wire, _) = api.push(&jpeg(8, 8, 1)).await;
    let second = jpeg(8, 8, 2);

    let fresh = api.get("/api/camera/snapshot?fresh=1").send();
    let shown = async {
        assert_eq!(wire.line().await.unwrap()["viewers"], 1);
        wire.chunk(part(&second, "")).await;
    };
    let (fresh, ()) = tokio::join!(fresh, shown);

    assert_eq!((fresh.status, &fresh.body[..], fresh.header("x-sequence")), (200, &second[..], "2"));
    assert_eq!(wire.line().await.unwrap()["viewers"], 0);
    assert_eq!(api.get("/api/camera/snapshot?fresh=2").problem().await.0, 400);
    api.stop().await;
}

#[tokio::test]
async fn ffmpeg_can_push_a_camera_and_view_it() {
    let api = Api::start().await;
    let url = format!("{}/api/camera/stream?module_id=porch", api.hub.url());
    let bearer = format!("Authorization: Bearer {}\r\n", api.admin);
    // Its output is discarded, and it is killed with the test.
    let ffmpeg = |arguments: &[&str]| {
        let mut command = tokio::process::Command::new("ffmpeg");
        command.args(["-nostdin", "-loglevel", "error"]).args(arguments).kill_on_drop(true);
        command
    };
    api.put("/api/modules/porch", json!({})).ok().await;

    let source = ["-re", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=20"];
    let multipart = ["-content_type", "multipart/x-mixed-replace; boundary=ffmpeg", "-f", "mpjpeg", &url];
    let mut push = ffmpeg(&[&source[..], &["-headers", &bearer], &multipart].concat()).spawn().unwrap();
    let watch = ["-headers", &bearer, "-i", &url, "-frames:v", "5", "-f", "framemd5", "-"];
    let watched = ffmpeg(&watch).output().await.unwrap();

    let frames = String::from_utf8(watched.stdout).unwrap();
    let frames: Vec<_> = frames.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(watched.status.success());
    assert_eq!(frames.len(), 5, "{frames:?}");
    let camera = &api.get("/api/cameras").ok().await["items"][0];
    assert_eq!(
        (&camera["width"], &camera["height"], &camera["refused"]),
        (&json!(64), &json!(48), &json!(0))
    );
    push.kill().await.unwrap();
    api.stop().await;
}

#[tokio::test]
async fn a_silent_stream_is_ended_after_a_minute() {
    let api = Api::start().await;
    let (mut wire, _) = api.push(&jpeg(8, 8, 1)).await;

    // The paused clock advances while all tasks are idle.
    tokio::time::pause();
    let line = wire.line().await.unwrap();

    assert_eq!(line["problem"]["detail"], "nothing arrived for 60 s");
    assert_eq!(wire.line().await, None);
    tokio::time::resume();
    api.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_a_problem() {
    let api = Api::start().await;
    let issued = api
        .post("/api/auth/tokens", json!({"name": "porch", "role": "module", "module_id": "porch"}))
        .ok()
        .await;
    let mut wire = Wire::to(&api.hub).await;
    wire.head(PUSH, issued["token"].as_str().unwrap(), &FIELDS).await;
    wire.chunk(part(&jpeg(8, 8, 1), "")).await;
    assert_eq!(
        (wire.answer_head().await.status(), wire.line().await.unwrap()["seq"].as_u64()),
        (200, Some(1))
    );
    api.delete(&format!("/api/auth/tokens/{}", issued["id"].as_str().unwrap())).send().await;

    assert_eq!(wire.line().await.unwrap()["problem"]["kind"], "unauthenticated");
    assert_eq!(wire.line().await, None);
    wire.chunk(part(&jpeg(8, 8, 2), "")).await;
    assert_eq!(api.newest().await, jpeg(8, 8, 1));
    api.stop().await;
}

#[tokio::test]
async fn a_fresh_snapshot_of_an_idle_camera_fails_after_ten_seconds() {
    let api = Api::start().await;
    let (wire, _) = api.push(&jpeg(8, 8, 1)).await;

    tokio::time::pause();
    let waited = api.get("/api/camera/snapshot?fresh=1").problem().await;
    tokio::time::resume();

    assert_eq!((waited.0, &waited.1[..]), (503, "unavailable"));
    drop(wire);
    api.stop().await;
}
