//! Exports, read by other programs: ffmpeg, ffprobe and the `zipfile` module of Python.

use std::{fs, path::Path, process::Command, time::Duration};

use http_body_util::BodyExt as _;
use jpeg_encoder::{ColorType, Encoder};
use serde_json::{Value, json};

use super::{DataFolder, numbered_frame, until};
use crate::support::{
    api::{Api, NOW_SECS},
    wait::bounded,
};

/// A JPEG of one colour with noise, so that each has different bytes and a different length.
fn photo(n: u32, noise: bool) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(64 * 48 * 3);
    let mut state = n.wrapping_mul(2_654_435_761) | 1;
    for _ in 0..64 * 48 {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let grain = if noise { (state & 0x3f) as u8 } else { 0 };
        pixels.extend([(n * 8 % 192) as u8 + grain, 100, 200 - grain]);
    }
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, 80).encode(&pixels, 64, 48, ColorType::Rgb).unwrap();
    jpeg
}

/// Publishes photos at the given times, in milliseconds from now, waits until they are recorded, and returns
/// them.
async fn record_photos(data: &DataFolder, api: &Api, millis: &[u64]) -> Vec<Vec<u8>> {
    api.record("porch", json!({"mode": "on_event", "before_secs": 5})).await;
    api.post("/api/cameras/porch/record", json!({"secs": 3600})).ok().await;
    let mut photos = Vec::new();
    let mut now = 0;
    for (n, at) in millis.iter().enumerate() {
        api.hub.advance(Duration::from_millis(at - now));
        now = *at;
        let photo = photo(n as u32, n % 2 == 0);
        let before = api.frames_to_recorder("porch").await;
        api.publish("porch", photo.clone()).await;
        until("the recorder received the frame", async || api.frames_to_recorder("porch").await > before)
            .await;
        photos.push(photo);
    }
    until("all frames are indexed", async || api.recorded_count("porch").await == photos.len() as u64).await;
    assert!(!data.segments("porch").is_empty());
    photos
}

async fn export(api: &Api, to: &Path, query: &str) -> (String, String) {
    let answer = api.get(&format!("/api/cameras/porch/recordings/export?{query}")).send().await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    fs::write(to, &answer.body).unwrap();
    (answer.header("content-type").to_owned(), answer.header("content-length").to_owned())
}

/// Information from ffprobe on the video; it decodes every frame.
fn probe(file: &Path) -> Value {
    let arguments = "-v error -count_frames -select_streams v:0 -show_entries \
                     stream=codec_name,width,height,nb_frames,nb_read_frames,r_frame_rate,duration:packet=pts_time,size \
                     -show_packets -of json";
    let out = Command::new("ffprobe")
        .args(arguments.split_whitespace())
        .arg(file)
        .output()
        .expect("ffprobe (make doctor-test)");
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Decodes the whole file; ffmpeg must not print a warning.
fn decode(file: &Path) {
    let out = Command::new("ffmpeg")
        .args(["-v", "warning", "-xerror", "-i"])
        .arg(file)
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg (make doctor-test)");
    assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// The JPEG files in an AVI file, unchanged.
fn jpegs(file: &Path, folder: &Path) -> Vec<Vec<u8>> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(["-fps_mode", "passthrough", "-c", "copy", "-f", "image2"])
        .arg(folder.join("%06d.jpg"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    super::segments(folder).iter().map(|path| fs::read(path).unwrap()).collect()
}

#[tokio::test]
async fn an_avi_file_has_every_frame_unchanged_and_the_duration_of_the_recording() {
    let data = DataFolder::new();
    let api = data.start().await;
    let millis: Vec<u64> = (0..30).map(|n| n * 100).collect();
    let photos = record_photos(&data, &api, &millis).await;
    let file = data.path().join("export.avi");

    let (media, length) = export(&api, &file, "format=avi").await;

    assert_eq!((media.as_str(), length), ("video/x-msvideo", fs::metadata(&file).unwrap().len().to_string()));
    let found = probe(&file);
    let stream = &found["streams"][0];
    assert_eq!((&stream["codec_name"], &stream["r_frame_rate"]), (&json!("mjpeg"), &json!("10/1")));
    assert_eq!((&stream["width"], &stream["height"]), (&json!(64), &json!(48)));
    assert_eq!((&stream["nb_frames"], &stream["nb_read_frames"]), (&json!("30"), &json!("30")));
    let duration: f64 = stream["duration"].as_str().unwrap().parse().unwrap();
    assert!((duration - 3.0).abs() < 0.001, "{duration}");
    decode(&file);
    let out = data.path().join("jpegs");
    fs::create_dir(&out).unwrap();
    assert_eq!(jpegs(&file, &out), photos);
    api.stop().await;
}

#[tokio::test]
async fn an_avi_file_keeps_pauses_unless_a_frame_rate_is_requested() {
    let data = DataFolder::new();
    let api = data.start().await;
    // Ten frames, a pause of a minute, ten frames.
    let millis: Vec<u64> = (0..10).chain(600..610).map(|n| n * 100).collect();
    record_photos(&data, &api, &millis).await;
    let file = data.path().join("export.avi");
    let times = |probed: &Value| -> Vec<f64> {
        let packets = probed["packets"].as_array().unwrap().iter();
        let full = packets.filter(|packet| packet["size"] != "0");
        full.map(|packet| packet["pts_time"].as_str().unwrap().parse().unwrap()).collect()
    };

    export(&api, &file, "format=avi").await;
    let found = probe(&file);
    decode(&file);
    assert_eq!(times(&found), millis.iter().map(|at| *at as f64 / 1000.0).collect::<Vec<_>>());
    let duration: f64 = found["streams"][0]["duration"].as_str().unwrap().parse().unwrap();
    assert!((duration - 61.0).abs() < 0.001, "{duration}");

    export(&api, &file, "format=avi&fps=25").await;
    let found = probe(&file);
    decode(&file);
    assert_eq!(found["streams"][0]["nb_read_frames"], "20");
    assert_eq!(times(&found), (0..20).map(|n| f64::from(n) / 25.0).collect::<Vec<_>>());

    let part = format!("format=avi&since={}&until={}", NOW_SECS + 60.0, NOW_SECS + 60.5);
    export(&api, &file, &part).await;
    assert_eq!(probe(&file)["streams"][0]["nb_read_frames"], "5");
    api.stop().await;
}

#[tokio::test]
async fn a_zip_file_has_every_frame_named_by_its_time() {
    let data = DataFolder::new();
    let api = data.start().await;
    let photos = record_photos(&data, &api, &[0, 100, 60_000]).await;
    let file = data.path().join("export.zip");

    let (media, _) = export(&api, &file, "format=zip").await;

    let out = data.path().join("jpegs");
    let unzip = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; z.extractall(sys.argv[2])";
    assert!(Command::new("python3").args(["-c", unzip]).args([&file, &out]).status().unwrap().success());
    let files = super::segments(&out);
    let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "2026-11-23T22-30-00.000000Z.jpg",
            "2026-11-23T22-30-00.100000Z.jpg",
            "2026-11-23T22-31-00.000000Z.jpg"
        ]
    );
    assert_eq!(files.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>(), photos);
    assert_eq!(media, "application/zip");
    api.stop().await;
}

#[tokio::test]
async fn damaged_frames_are_left_out_and_reported() {
    let data = DataFolder::new();
    let api = data.start().await;
    record_photos(&data, &api, &[0, 100, 200, 300]).await;
    let segment = data.segments("porch").remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let last = photo(3, false).len();
    let third = bytes.len() - last - 40 - 10;
    bytes[third] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let file = data.path().join("export");

    export(&api, &file, "format=avi").await;
    decode(&file);
    assert_eq!(probe(&file)["streams"][0]["nb_read_frames"], "3");
    assert_eq!(api.metric("iotpi_recording_errors_total").await, 1.0);

    export(&api, &file, "format=zip").await;
    let read = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; print(len(z.namelist()), z.read('damaged.txt').decode())";
    let output = Command::new("python3").args(["-c", read]).arg(&file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("4 ") && text.contains("2026-11-23T22-30-00.200000Z"), "{text}");
    api.stop().await;
}

#[tokio::test]
async fn a_segment_that_is_deleted_during_an_export_ends_it_with_an_error() {
    for format in ["avi", "zip"] {
        let data = DataFolder::new();
        let api = data.start().await;
        api.record("porch", json!({"mode": "continuous"})).await;
        api.wait_for_recorder("porch").await;
        // Each clip has separate segments, which together far exceed the socket buffers.
        for n in 1..6 {
            api.hub.advance(Duration::from_secs(20));
            let before = api.frames_to_recorder("porch").await;
            api.publish("porch", crate::support::api::jpeg(64, 48, 4_000_000 + n)).await;
            until("the recorder received the frame", async || api.frames_to_recorder("porch").await > before)
                .await;
        }
        until("all frames are indexed", async || api.recorded_count("porch").await == 6).await;
        let segments = data.segments("porch");
        assert_eq!(segments.len(), 6);

        let response = api.get(&format!("/api/cameras/porch/recordings/export?format={format}")).open().await;
        let mut body = response.into_body();
        bounded("the first bytes of the export", body.frame()).await.unwrap().unwrap();
        fs::remove_file(segments.last().unwrap()).unwrap();
        let end = bounded("the end of the export", body.collect()).await;

        assert!(end.is_err(), "{format}");
        until("the error is counted", async || api.metric("iotpi_recording_errors_total").await > 0.0).await;
        api.stop().await;
    }
}

#[tokio::test]
async fn an_avi_file_that_would_be_too_long_is_refused_with_the_alternative() {
    let data = DataFolder::new();
    let api = data.start().await;
    record_photos(&data, &api, &[0, 10, 20, 30, 3_600_000 - 10]).await;
    api.hub.advance(Duration::from_secs(86_400));
    api.post("/api/cameras/porch/record", json!({})).ok().await;
    let before = api.frames_to_recorder("porch").await;
    api.publish("porch", numbered_frame(1)).await;
    until("the recorder received the frame", async || api.frames_to_recorder("porch").await > before).await;
    until("all frames are indexed", async || api.recorded_count("porch").await == 6).await;

    // The recording lasts a day, with a frame every 10 ms.
    let refused = api.get("/api/cameras/porch/recordings/export?format=avi").send().await;

    let problem = refused.problem();
    assert_eq!((refused.status, &problem["kind"]), (413, &json!("too_large")));
    assert!(problem["detail"].as_str().unwrap().contains("`format=zip`"), "{problem}");
    for other in ["format=avi&fps=10", "format=zip"] {
        let path = format!("/api/cameras/porch/recordings/export?{other}");
        assert_eq!(api.get(&path).send().await.status, 200, "{other}");
    }
    api.stop().await;
}

#[tokio::test]
async fn concurrent_exports_are_limited() {
    let data = DataFolder::new();
    let api = data.start().await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.publish("porch", crate::support::api::jpeg(64, 48, 8_000_000)).await;
    until("the frame is recorded", async || api.recorded_count("porch").await == 1).await;
    let path = "/api/cameras/porch/recordings/export?format=zip";
    let mut exports = Vec::new();
    for _ in 0..4 {
        exports.push(api.get(path).open().await);
    }

    let refused = api.get(path).problem().await;

    assert_eq!((refused.0, refused.1.as_str()), (429, "rate_limited"));
    drop(exports);
    until("another export is accepted", async || api.get(path).open().await.status() == 200).await;
    api.stop().await;
}
