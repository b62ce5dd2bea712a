//! Pictures pushed in one request.

use serde_json::{Value, json};

use crate::{
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
    /// A stream that has begun, and what it was told first.
    async fn pushing(&self, first: &[u8]) -> (Wire, Value) {
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
async fn pictures_are_shown_as_they_come_and_the_viewers_are_told() {
    let api = Api::start().await;
    let (mut wire, first) = api.pushing(&jpeg(8, 8, 1)).await;
    assert_eq!(first, json!({"viewers": 0, "seq": 1}));

    let viewer = api.get("/api/camera/stream").open().await;
    assert_eq!(wire.line().await.unwrap()["viewers"], 1);
    let second = jpeg(16, 16, 200_000);
    for piece in part(&second, "X-Sequence: 5\r\nX-Timestamp: 1795473000.5\r\n").chunks(7_001) {
        wire.chunk(piece).await;
    }
    drop(viewer);

    let told = wire.line().await.unwrap();
    assert_eq!(told["viewers"], 0);
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
    let (mut wire, _) = api.pushing(&jpeg(8, 8, 1)).await;
    let second = jpeg(8, 8, 70_000);

    wire.chunk([b"--x\r\nContent-Type: image/jpeg\r\n\r\n", &second[..], b"\r\n--x--"].concat()).await;
    wire.chunk(b"\r\n").await;

    assert_eq!(wire.line().await, None);
    assert_eq!(api.newest().await, second);
    api.stop().await;
}

#[tokio::test]
async fn a_picture_that_is_none_is_told_and_the_stream_goes_on() {
    let api = Api::start().await;
    let good = jpeg(8, 8, 1);
    let (mut wire, _) = api.pushing(&good).await;

    for (bad, fields) in
        [(&b"GIF89a"[..], ""), (&jpeg(65_535, 65_535, 1), ""), (&good[..], "X-Timestamp: 5\r\n")]
    {
        wire.chunk(part(bad, fields)).await;
        assert_eq!(wire.line().await.unwrap()["problem"]["kind"], "unprocessable");
    }

    assert_eq!(api.newest().await, good);
    wire.chunk(part(&jpeg(8, 8, 2), "")).await;
    wire.chunk(b"--x--\r\n").await;
    assert_eq!(wire.line().await, None);
    let camera = &api.get("/api/cameras").ok().await["items"][0];
    assert_eq!((&camera["frames"], &camera["refused"]), (&json!(2), &json!(3)));
    api.stop().await;
}

#[tokio::test]
async fn a_stream_that_begins_wrong_gets_a_plain_problem() {
    let api = Api::start().await;
    let viewer = api.token(iotpi_hub::auth::Role::Viewer).await;
    let large = b"--x\r\nContent-Length: 8388609\r\n\r\n".to_vec();

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
async fn what_is_no_stream_any_more_ends_it_with_a_reason() {
    let api = Api::start().await;
    for (what, kind) in [
        (&b"--x\r\nContent-Length: 3\r\n\r\nlonger\r\n"[..], "invalid_argument"),
        (b"--x\r\nContent-Length: 99999999\r\n\r\n", "too_large"),
        (b"--x\r\nContent-Length: many\r\n\r\n", "invalid_argument"),
    ] {
        let (mut wire, _) = api.pushing(&jpeg(8, 8, 1)).await;

        wire.chunk(what).await;
        // The three bytes of the first are a part, and no JPEG.
        let mut line = wire.line().await.unwrap();
        if line["problem"]["kind"] == "unprocessable" {
            line = wire.line().await.unwrap();
        }

        assert_eq!(line["problem"]["kind"], kind);
        assert_eq!(wire.line().await, None);
    }
    api.stop().await;
}

#[tokio::test]
async fn the_stream_of_a_removed_camera_ends_and_so_do_all_when_the_hub_stops() {
    let api = Api::start().await;
    let (mut removed, _) = api.pushing(&jpeg(8, 8, 1)).await;
    api.delete("/api/modules/porch").ok().await;
    assert_eq!(removed.line().await, None);
    let (mut last, _) = api.pushing(&jpeg(8, 8, 1)).await;

    api.stop().await;

    assert!(last.is_closed().await);
}

#[tokio::test]
async fn the_hub_tells_the_time_to_whoever_delivers() {
    let api = Api::standing_still().await;

    let told = api.get("/api/time").ok().await;

    assert_eq!(told, json!({"hub_time": crate::api::NOW_SECS}));
    assert_eq!(api.open(http::Method::GET, "/api/time").problem().await.0, 401);
    api.stop().await;
}

#[tokio::test]
async fn a_fresh_snapshot_is_the_next_frame_and_who_waits_counts_as_a_viewer() {
    let api = Api::start().await;
    let (mut wire, _) = api.pushing(&jpeg(8, 8, 1)).await;
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
async fn ffmpeg_pushes_a_camera_and_ffmpeg_watches_it() {
    let api = Api::start().await;
    let url = format!("{}/api/camera/stream?module_id=porch", api.hub.url());
    let bearer = format!("Authorization: Bearer {}\r\n", api.admin);
    // Quiet, and gone with the test.
    let ffmpeg = |arguments: &[&str]| {
        let mut command = tokio::process::Command::new("ffmpeg");
        command.args(["-nostdin", "-loglevel", "error"]).args(arguments).kill_on_drop(true);
        command
    };
    api.put("/api/modules/porch", json!({})).ok().await;

    let picture = ["-re", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=20"];
    let multipart = ["-content_type", "multipart/x-mixed-replace; boundary=ffmpeg", "-f", "mpjpeg", &url];
    let mut push = ffmpeg(&[&picture[..], &["-headers", &bearer], &multipart].concat()).spawn().unwrap();
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
async fn a_stream_in_which_nothing_comes_is_ended_after_a_minute() {
    let api = Api::start().await;
    let (mut wire, _) = api.pushing(&jpeg(8, 8, 1)).await;

    // Time goes by itself while nobody does anything.
    tokio::time::pause();
    let line = wire.line().await.unwrap();

    assert_eq!(line["problem"]["detail"], "nothing came for 60 s");
    assert_eq!(wire.line().await, None);
    tokio::time::resume();
    api.stop().await;
}

#[tokio::test]
async fn a_stream_whose_token_was_revoked_is_ended_with_a_frame_that_comes_ten_seconds_later() {
    let api = Api::start().await;
    let made = api
        .post("/api/auth/tokens", json!({"name": "porch", "role": "module", "module_id": "porch"}))
        .ok()
        .await;
    let mut wire = Wire::to(&api.hub).await;
    wire.head(PUSH, made["token"].as_str().unwrap(), &FIELDS).await;
    wire.chunk(part(&jpeg(8, 8, 1), "")).await;
    assert_eq!(
        (wire.answer_head().await.status(), wire.line().await.unwrap()["seq"].as_u64()),
        (200, Some(1))
    );
    api.delete(&format!("/api/auth/tokens/{}", made["id"].as_str().unwrap())).send().await;

    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    tokio::time::resume();
    wire.chunk(part(&jpeg(8, 8, 2), "")).await;

    assert_eq!(wire.line().await.unwrap()["problem"]["kind"], "unauthenticated");
    assert_eq!(wire.line().await, None);
    assert_eq!(api.newest().await, jpeg(8, 8, 1));
    api.stop().await;
}

#[tokio::test]
async fn who_waits_for_a_fresh_snapshot_of_a_camera_at_rest_is_told_after_ten_seconds() {
    let api = Api::start().await;
    let (wire, _) = api.pushing(&jpeg(8, 8, 1)).await;

    tokio::time::pause();
    let waited = api.get("/api/camera/snapshot?fresh=1").problem().await;
    tokio::time::resume();

    assert_eq!((waited.0, &waited.1[..]), (503, "unavailable"));
    drop(wire);
    api.stop().await;
}
