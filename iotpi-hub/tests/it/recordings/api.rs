//! Access to recordings, and rejected requests.

use std::time::Duration;

use http::Method;
use iotpi_hub::Config;
use serde_json::{Value, json};

use super::{DataFolder, numbered_frame, until};
use crate::support::api::{Api, NOW_SECS};

async fn record_five_frames(data: &DataFolder) -> Api {
    let api = data.start().await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.wait_for_recorder("porch").await;
    api.hub.advance(Duration::from_secs(1));
    api.publish_all("porch", 1..5, Duration::from_secs(1)).await;
    until("all frames are indexed", async || api.recorded_count("porch").await == 5).await;
    api
}

#[tokio::test]
async fn frames_are_found_by_time() {
    let data = DataFolder::new();
    let api = record_five_frames(&data).await;
    let at = |secs: f64| NOW_SECS + secs;

    assert_eq!(api.times("porch").await, [0.0, 1.0, 2.0, 3.0, 4.0].map(at));
    let page = |query: String| {
        let path = format!("/api/cameras/porch/recordings/frames?{query}");
        let call = api.get(&path);
        async move { call.ok().await }
    };
    let first = page(format!("since={}&until={}&limit=2", at(1.0), at(4.0))).await;
    assert_eq!(first["items"], json!([at(1.0), at(2.0)]));
    let query =
        format!("since={}&until={}&limit=2&cursor={}", at(1.0), at(4.0), first["next"].as_str().unwrap());
    assert_eq!(page(query).await, json!({"items": [at(3.0)], "next": null}));

    for (requested, pick, found, expected, immutable) in [
        (2.0, "nearest", 2.0, 2, true),
        (2.4, "nearest", 2.0, 2, false),
        (2.0, "next", 3.0, 3, false),
        (2.0, "previous", 1.0, 1, false),
        (99.0, "nearest", 4.0, 4, false),
    ] {
        let path = format!("/api/cameras/porch/recordings/frame?at={}&pick={pick}", at(requested));
        let answer = api.get(&path).send().await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "image/jpeg"));
        assert_eq!(
            (&answer.body[..], answer.header("x-timestamp").parse()),
            (&numbered_frame(expected)[..], Ok(at(found)))
        );
        assert_eq!(answer.header("cache-control").contains("immutable"), immutable, "{pick} of {requested}");
    }
    let after_the_last = format!("/api/cameras/porch/recordings/frame?at={}&pick=next", at(4.0));
    assert_eq!(api.get(&after_the_last).problem().await.0, 404);
    api.stop().await;
}

#[tokio::test]
async fn invalid_settings_are_refused_with_a_pointer() {
    let data = DataFolder::new();
    let api = data.start().await;
    api.put("/api/modules/porch", json!({})).ok().await;
    let motion = json!({"module_id": "door", "type": "motion", "above": 0.5});

    for (settings, status, pointer) in [
        (json!({}), 400, ""),
        (json!({"mode": "always"}), 400, "/mode"),
        (json!({"mode": "off", "every": 5}), 400, "/every"),
        (json!({"mode": "off", "every_secs": 0}), 400, "/every_secs"),
        (json!({"mode": "off", "every_secs": 86_401}), 400, "/every_secs"),
        (json!({"mode": "off", "before_secs": 61}), 400, "/before_secs"),
        (json!({"mode": "off", "after_secs": 0}), 400, "/after_secs"),
        (json!({"mode": "off", "after_secs": 3_601}), 400, "/after_secs"),
        (json!({"mode": "off", "keep_days": 3_651}), 400, "/keep_days"),
        (json!({"mode": "off", "keep_bytes": 15_999_999}), 400, "/keep_bytes"),
        (json!({"mode": "off", "keep_bytes": 10_000_000_000_001_u64}), 400, "/keep_bytes"),
        (json!({"mode": "off", "triggers": vec![motion.clone(); 17]}), 413, "/triggers"),
        (json!({"mode": "off", "triggers": [motion, {"module_id": "door"}]}), 400, "/triggers/1"),
        (json!({"mode": "off", "triggers": [{"module_id": "door", "type": "motion"}]}), 400, "/triggers/0"),
        (
            json!({"mode": "off", "triggers": [{"module_id": "d", "type": "m", "action": "on"}]}),
            400,
            "/triggers/0",
        ),
        (
            json!({"mode": "off", "triggers": [{"module_id": "d", "above": 1, "action": "on"}]}),
            400,
            "/triggers/0",
        ),
        (
            json!({"mode": "off", "triggers": [{"module_id": "Not An Id", "action": "on"}]}),
            400,
            "/triggers/0/module_id",
        ),
    ] {
        let refused = api.put("/api/cameras/porch/recording", settings.clone()).problem().await;
        assert_eq!((refused.0, refused.2.as_str()), (status, pointer), "{settings}");
    }
    assert_eq!(api.recording("porch").await["mode"], "off");
    for (request, pointer) in [
        (json!({"secs": 0}), "/secs"),
        (json!({"secs": 3_601}), "/secs"),
        (json!({"reason": ""}), "/reason"),
        (json!({"reason": "x".repeat(201)}), "/reason"),
    ] {
        let refused = api.post("/api/cameras/porch/record", request.clone()).problem().await;
        assert_eq!((refused.0, refused.2.as_str()), (400, pointer), "{request}");
    }
    api.stop().await;
}

#[tokio::test]
async fn invalid_ranges_and_unknown_cameras_are_refused() {
    let data = DataFolder::new();
    let api = record_five_frames(&data).await;
    let of = |camera: &str, rest: &str| format!("/api/cameras/{camera}/{rest}");

    for (rest, status) in [
        (format!("recordings?since={NOW_SECS}&until={NOW_SECS}"), 400),
        (format!("recordings/frames?since={}&until={NOW_SECS}", NOW_SECS + 1.0), 400),
        ("recordings?limit=1001".to_owned(), 400),
        ("recordings?limit=0".to_owned(), 400),
        ("recordings/frames?limit=10001".to_owned(), 400),
        ("recordings/frames?cursor=abc".to_owned(), 400),
        ("recordings/frames?since=yesterday".to_owned(), 400),
        ("recordings/frames?since=3".to_owned(), 422),
        ("recordings/frame".to_owned(), 400),
        (format!("recordings/frame?at={NOW_SECS}&pick=best"), 400),
        ("recordings/export".to_owned(), 400),
        ("recordings/export?format=mp4".to_owned(), 400),
        ("recordings/export?format=avi&fps=0".to_owned(), 400),
        ("recordings/export?format=avi&fps=121".to_owned(), 400),
        (format!("recordings/export?format=zip&since={}", NOW_SECS + 60.0), 404),
        (format!("recordings/export?format=avi&since={0}&until={0}", NOW_SECS), 400),
    ] {
        assert_eq!(api.get(&of("porch", &rest)).problem().await.0, status, "{rest}");
    }
    for rest in [
        "recording",
        "recordings",
        "recordings/frames",
        "recordings/frame?at=1795473000",
        "recordings/export?format=zip",
    ] {
        assert_eq!(api.get(&of("unknown", rest)).problem().await.0, 404, "{rest}");
        assert_eq!(api.get(&of("Not%20An%20Id", rest)).problem().await.0, 400, "{rest}");
    }
    assert_eq!(api.put(&of("unknown", "recording"), json!({"mode": "off"})).problem().await.0, 404);
    assert_eq!(api.post(&of("unknown", "record"), json!({})).problem().await.0, 404);
    api.stop().await;
}

#[tokio::test]
async fn recording_without_a_folder_for_recordings_is_refused() {
    let api = Api::start().await;
    api.publish("porch", numbered_frame(0)).await;

    let set = api.put("/api/cameras/porch/recording", json!({"mode": "continuous"})).send().await;
    let requested = api.post("/api/cameras/porch/record", json!({})).problem().await;

    assert_eq!((set.status, requested.0), (409, 409));
    assert!(set.problem()["detail"].as_str().unwrap().contains("cameras.recordings"));
    api.put("/api/cameras/porch/recording", json!({"mode": "off"})).ok().await;
    assert_eq!(api.recording("porch").await["frames"], 0);
    api.stop().await;

    // A hub with its database in memory can record into a configured folder.
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.cameras.recordings = Some(folder.path().join("elsewhere"));
    let api = Api::with_config(config).await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.wait_for_recorder("porch").await;
    until("the frame is recorded", async || api.recorded_count("porch").await == 1).await;
    assert_eq!(super::segments(&folder.path().join("elsewhere/porch")).len(), 1);
    api.stop().await;
}

#[tokio::test]
async fn the_recordings_of_a_removed_module_are_deleted() {
    let data = DataFolder::new();
    let api = record_five_frames(&data).await;
    assert_eq!(data.segments("porch").len(), 1);

    api.delete("/api/modules/porch").ok().await;

    assert_eq!(data.segments("porch").len(), 0);
    assert_eq!(api.get("/api/cameras/porch/recording").problem().await.0, 404);
    // A new module with the same id has no recordings.
    api.publish("porch", numbered_frame(1)).await;
    let recording: Value = api.recording("porch").await;
    assert_eq!((&recording["mode"], &recording["frames"]), (&json!("off"), &json!(0)));
    api.stop().await;
    let api = data.start().await;
    assert_eq!(api.recorded_count("porch").await, 0);
    assert_eq!(api.call(Method::DELETE, "/api/modules/unknown").problem().await.0, 404);
    api.stop().await;
}
