//! Frames in the forms that cameras and scripts send: with surrounding bytes, without Huffman tables, in any
//! form.

use http::Method;
use http_body_util::BodyExt as _;
use iotpi_hub::testing::TestHub;
use serde_json::json;
use zune_jpeg::{JpegDecoder, zune_core::bytestream::ZCursor};

use crate::support::{
    api::{Api, NOW, jpeg},
    wait::bounded,
    wire::Wire,
};

/// 160 x 120 pixels, as libjpeg writes it.
const WHOLE: &[u8] = include_bytes!("../../pictures/whole.jpg");
/// The same frame as sent by many USB cameras: Motion JPEG (AVI1), without Huffman tables.
const WITHOUT_TABLES: &[u8] = include_bytes!("../../pictures/without-tables.jpg");
/// The same frame followed by an MP4 video.
const MOTION_PHOTO: &[u8] = include_bytes!("../../pictures/motion-photo.jpg");

fn pixels(jpeg: &[u8]) -> Vec<u8> {
    JpegDecoder::new(ZCursor::new(jpeg.to_vec())).decode().unwrap()
}

fn has_tables(jpeg: &[u8]) -> bool {
    jpeg.windows(2).any(|bytes| bytes == [0xFF, 0xC4])
}

/// Frames with the same content as [`WHOLE`].
fn equivalent_frames() -> Vec<(&'static str, Vec<u8>)> {
    let followed_by = |bytes: &[u8]| [WHOLE, bytes].concat();
    let before = |bytes: &[u8]| [bytes, WHOLE].concat();
    vec![
        ("whole", WHOLE.to_vec()),
        ("without tables", WITHOUT_TABLES.to_vec()),
        ("motion photo", MOTION_PHOTO.to_vec()),
        ("a line end after it", followed_by(b"\r\n")),
        ("FF bytes after it", followed_by(&[0xFF; 6])),
        ("zeros after it", followed_by(&[0; 4096])),
        ("an application segment after it", followed_by(b"\xFF\xE9\x00\x08serial")),
        ("a boundary after it", followed_by(b"\r\n--frame--\r\n")),
        ("a second frame and other bytes after it", followed_by(&[WHOLE, b"rest"].concat())),
        ("line end before", before(b"\r\n")),
        ("zeros before", before(&[0; 16])),
        ("a part's head before", before(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n")),
        ("without tables, padded on both sides", [b"\n", WITHOUT_TABLES, &[0; 7]].concat()),
    ]
}

impl Api {
    async fn snapshot(&self, camera: &str) -> Vec<u8> {
        self.get(&format!("/api/camera/snapshot?module_id={camera}")).send().await.body.to_vec()
    }

    /// Posts a form to the camera endpoint and returns the status.
    async fn form(&self, fields: &[(&str, &[u8])]) -> u16 {
        let mut body = Vec::new();
        for (head, value) in fields {
            body.extend(format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
            body.extend(*value);
            body.extend(b"\r\n");
        }
        body.extend(b"--b--\r\n");
        let call = self.call(Method::POST, "/api/camera/frame");
        let answer = call.header("content-type", "multipart/form-data; boundary=b").body(body).send().await;
        if answer.status != 200 {
            answer.problem();
        }
        answer.status
    }
}

#[tokio::test]
async fn every_way_of_upload_turns_a_frame_into_a_complete_jpeg() {
    let api = Api::start().await;
    let expected = pixels(WHOLE);

    for (name, frame) in equivalent_frames() {
        api.call(Method::POST, "/api/camera/frame?module_id=fast").jpeg(frame.clone()).ok().await;
        let mut chunked = Wire::to(&api.hub).await;
        let fields = [("content-type", "image/jpeg"), ("transfer-encoding", "chunked")];
        chunked.head("POST /api/camera/frame?module_id=chunked", &api.admin, &fields).await;
        chunked.chunk(&frame).await;
        chunked.chunk([]).await;
        assert_eq!(chunked.answer().await.0.status(), 200, "{name}");
        assert_eq!(api.form(&[("name=\"frame\"; filename=\"a\"", &frame)]).await, 200, "{name}");
        let mut pushed = Wire::to(&api.hub).await;
        let fields =
            [("content-type", "multipart/x-mixed-replace; boundary=x"), ("transfer-encoding", "chunked")];
        pushed.head("POST /api/camera/stream?module_id=pushed", &api.admin, &fields).await;
        let head = format!("--x\r\nContent-Length: {}\r\n\r\n", frame.len());
        pushed.chunk([head.as_bytes(), &frame, b"\r\n--x--\r\n"].concat()).await;
        assert_eq!(pushed.answer_head().await.status(), 200, "{name}");
        while pushed.line().await.is_some() {}

        for camera in ["fast", "chunked", "camera", "pushed"] {
            let shown = api.snapshot(camera).await;
            assert!(shown.starts_with(&[0xFF, 0xD8]) && shown.ends_with(&[0xFF, 0xD9]), "{name} {camera}");
            assert!(has_tables(&shown), "{name} {camera}");
            assert_eq!(pixels(&shown), expected, "{name} {camera}");
        }
    }
    let cameras = api.get("/api/cameras").ok().await;
    assert!(cameras["items"].as_array().unwrap().iter().all(|camera| camera["refused"] == 0), "{cameras}");
    api.stop().await;
}

#[tokio::test]
async fn viewers_and_recordings_get_the_tables_a_camera_omits() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("hub.db").display());
    let api =
        Api::of(TestHub::on_machine(Default::default(), &url, Default::default(), NOW).await.unwrap()).await;
    api.put("/api/modules/porch", json!({})).ok().await;
    api.put("/api/cameras/porch/recording", json!({"mode": "continuous"})).ok().await;

    api.call(Method::POST, "/api/camera/frame?module_id=porch").jpeg(WITHOUT_TABLES.to_vec()).ok().await;
    let mut stream = api.get("/api/camera/stream").open().await.into_body();
    let mut streamed = Vec::new();
    while !streamed.ends_with(b"\xFF\xD9\r\n--frame\r\n") {
        streamed.extend_from_slice(
            bounded("a frame", stream.frame()).await.unwrap().unwrap().data_ref().unwrap(),
        );
    }

    let whole = api.snapshot("porch").await;
    assert_eq!(pixels(&whole), pixels(WHOLE));
    assert!(streamed.windows(whole.len()).any(|bytes| bytes == whole));
    let frame = format!("/api/cameras/porch/recordings/frame?at={}", crate::support::api::NOW_SECS);
    let recorded = bounded("the frame is recorded", async {
        loop {
            let answer = api.get(&frame).send().await;
            if answer.status == 200 {
                return answer.body;
            }
            // Frames are written when the clock advances.
            api.hub.advance(std::time::Duration::from_secs(1));
        }
    });
    assert_eq!(recorded.await, whole);
    drop(stream);
    api.stop().await;
}

#[tokio::test]
async fn a_truncated_frame_is_rejected_with_any_surrounding_bytes() {
    let api = Api::start().await;
    // An EXIF thumbnail has an end-of-image marker too.
    let thumbnail = [&[0xFF, 0xD8, 0xFF, 0xE1, 0, 8, 0xFF, 0xD8, 0xFF, 0xD9, 1, 2][..], &WHOLE[2..]].concat();

    for cut in [
        WHOLE[..WHOLE.len() - 2].to_vec(),
        WHOLE[..900].to_vec(),
        [&WHOLE[..1800], b"\r\n"].concat(),
        [&WHOLE[..1800], &[0; 500]].concat(),
        [&WHOLE[..1800], WHOLE, b"rest"].concat(),
        thumbnail[..thumbnail.len() - 2].to_vec(),
        b"\r\n".to_vec(),
        [&[0; 2000], WHOLE].concat(),
    ] {
        assert_eq!(
            api.call(Method::POST, "/api/camera/frame").jpeg(cut.clone()).problem().await.0,
            422,
            "{cut:?}"
        );
    }
    assert_eq!(api.get("/api/cameras").ok().await["items"], json!([]));
    api.stop().await;
}

#[tokio::test]
async fn the_only_file_of_a_form_is_the_frame_under_any_field_name() {
    let api = Api::start().await;

    for file in [
        "name=\"imageFile\"; filename=\"esp32-cam.jpg\"",
        "name=\"photo\"; filename=\"\"",
        "name=\"upload[]\"; filename=\"a.jpg\"",
        "name=\"\"; filename=\"a.jpg\"",
        "name=\"picture\"\r\nContent-Type: image/jpeg",
        "name=\"module_id\"; filename=\"a.jpg\"",
        "name=\"image\"",
    ] {
        assert_eq!(api.form(&[("name=\"module_id\"", b"porch"), (file, WHOLE)]).await, 200, "{file}");
        assert_eq!(api.snapshot("porch").await, WHOLE, "{file}");
    }
    let chosen = "name=\"a\"; filename=\"a.jpg\"";
    let not_chosen = "name=\"b\"; filename=\"\"\r\nContent-Type: application/octet-stream";
    assert_eq!(api.form(&[(chosen, WHOLE), (not_chosen, b"")]).await, 200);
    assert_eq!(api.form(&[(chosen, WHOLE), ("name=\"b\"; filename=\"b.jpg\"", WHOLE)]).await, 400);
    assert_eq!(api.form(&[("name=\"colour\"", b"red"), (chosen, WHOLE)]).await, 400);
    assert_eq!(api.form(&[("name=\"module_id\"", b"porch")]).await, 400);
    api.stop().await;
}

#[tokio::test]
async fn an_invalid_capture_time_is_replaced_by_the_arrival_and_counted() {
    let api = Api::with_manual_clock().await;
    let now = crate::support::api::NOW_SECS;
    let possible = [now - 86_400.0, now - 1.0, now, now + 5.0, now + 86_400.0];
    let impossible = [
        "0",
        "-5",
        "123.456789",
        "12345",
        "946684800",
        "1577836800",
        "1795300000",
        "1795473000123",
        "4102444800",
        "1900000000",
        "soon",
        "NaN",
        "",
        "1970-01-01T00:00:07Z",
        "2026-11-23T22:30:00",
    ];
    let post = |time: &str| {
        api.call(Method::POST, "/api/camera/frame?module_id=porch")
            .jpeg(jpeg(8, 8, 10))
            .header("x-timestamp", time)
    };
    let taken_at = async || api.get("/api/cameras").ok().await["items"][0]["taken_at"].as_f64().unwrap();

    for time in possible {
        post(&time.to_string()).ok().await;
        assert_eq!(taken_at().await, time);
    }
    for time in impossible {
        post("1795472000").ok().await;
        post(time).ok().await;
        assert_eq!(taken_at().await, now, "{time}");
    }
    // The clock offset applies: the clock of this camera is ten days behind, and it sends the offset.
    post(&(now - 864_000.0).to_string()).header("x-clock-offset", "864000").ok().await;
    assert_eq!(taken_at().await, now - 864_000.0);
    // A time in the query is checked like any other.
    for (time, status) in [("soon", 400), ("5", 422)] {
        let path = format!("/api/camera/frame?timestamp={time}");
        assert_eq!(api.call(Method::POST, &path).jpeg(jpeg(8, 8, 10)).problem().await.0, status);
    }
    let metrics = api.metrics().await;
    assert!(
        metrics.contains(&format!("iotpi_frame_times_ignored_total {}\n", impossible.len())),
        "{metrics}"
    );
    api.stop().await;
}

#[tokio::test]
async fn cache_busting_parameters_are_ignored_for_frames_and_rejected_elsewhere() {
    let api = Api::start().await;
    api.call(Method::POST, "/api/camera/frame?module_id=porch").jpeg(WHOLE.to_vec()).ok().await;

    for query in ["t=123", "_=1795473000", "module_id=porch&nocache", "rand=0.5&module_id=porch", "%20=1"] {
        assert_eq!(api.get(&format!("/api/camera/snapshot?{query}")).send().await.status, 200, "{query}");
        assert_eq!(api.get(&format!("/api/camera/stream?{query}")).open().await.status(), 200, "{query}");
    }
    assert_eq!(api.get("/api/camera/snapshot?fresh=maybe&t=1").problem().await.0, 400);
    assert_eq!(api.get("/api/camera/snapshot?module_id=A&t=1").problem().await.0, 400);
    for path in ["/api/sensors?t=1", "/api/cameras/porch/recordings?t=1", "/api/modules?_=1"] {
        assert_eq!(api.get(path).problem().await.0, 400, "{path}");
    }
    let post = api.call(Method::POST, "/api/camera/frame?t=1").jpeg(WHOLE.to_vec());
    assert_eq!(post.problem().await.0, 400);
    api.stop().await;
}
