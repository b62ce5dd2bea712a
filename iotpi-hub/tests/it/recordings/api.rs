//! Access to recordings, and rejected requests.

use std::time::Duration;

use http::Method;
use iotpi_hub::Config;
use serde_json::{Value, json};

use super::{Home, picture, until};
use crate::support::api::{Api, NOW_SECS};

async fn five_frames(home: &Home) -> Api {
    let api = home.start().await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.watched("porch").await;
    api.hub.advance(Duration::from_secs(1));
    api.film_all("porch", 1..5, Duration::from_secs(1)).await;
    until("all are indexed", async || api.recorded("porch").await == 5).await;
    api
}

#[tokio::test]
async fn frames_are_found_by_time() {
    let home = Home::new();
    let api = five_frames(&home).await;
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

    for (asked, pick, found, expected, immutable) in [
        (2.0, "nearest", 2.0, 2, true),
        (2.4, "nearest", 2.0, 2, false),
        (2.0, "next", 3.0, 3, false),
        (2.0, "previous", 1.0, 1, false),
        (99.0, "nearest", 4.0, 4, false),
    ] {
        let path = format!("/api/cameras/porch/recordings/frame?at={}&pick={pick}", at(asked));
        let answer = api.get(&path).send().await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "image/jpeg"));
        assert_eq!(
            (&answer.body[..], answer.header("x-timestamp").parse()),
            (&picture(expected)[..], Ok(at(found)))
        );
        assert_eq!(answer.header("cache-control").contains("immutable"), immutable, "{pick} of {asked}");
    }
    let after_the_last = format!("/api/cameras/porch/recordings/frame?at={}&pick=next", at(4.0));
    assert_eq!(api.get(&after_the_last).problem().await.0, 404);
    api.stop().await;
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_with_their_place() {
    let home = Home::new();
    let api = home.start().await;
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
    for (order, pointer) in [
        (json!({"secs": 0}), "/secs"),
        (json!({"secs": 3_601}), "/secs"),
        (json!({"reason": ""}), "/reason"),
        (json!({"reason": "x".repeat(201)}), "/reason"),
    ] {
        let refused = api.post("/api/cameras/porch/record", order.clone()).problem().await;
        assert_eq!((refused.0, refused.2.as_str()), (400, pointer), "{order}");
    }
    api.stop().await;
}

#[tokio::test]
async fn ranges_that_cannot_be_and_cameras_nobody_knows_are_refused() {
    let home = Home::new();
    let api = five_frames(&home).await;
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
        assert_eq!(api.get(&of("nobody", rest)).problem().await.0, 404, "{rest}");
        assert_eq!(api.get(&of("Not%20An%20Id", rest)).problem().await.0, 400, "{rest}");
    }
    assert_eq!(api.put(&of("nobody", "recording"), json!({"mode": "off"})).problem().await.0, 404);
    assert_eq!(api.post(&of("nobody", "record"), json!({})).problem().await.0, 404);
    api.stop().await;
}

#[tokio::test]
async fn without_a_place_for_recordings_the_hub_says_so() {
    let api = Api::start().await;
    api.film("porch", picture(0)).await;

    let set = api.put("/api/cameras/porch/recording", json!({"mode": "continuous"})).send().await;
    let ordered = api.post("/api/cameras/porch/record", json!({})).problem().await;

    assert_eq!((set.status, ordered.0), (409, 409));
    assert!(set.problem()["detail"].as_str().unwrap().contains("cameras.recordings"));
    api.put("/api/cameras/porch/recording", json!({"mode": "off"})).ok().await;
    assert_eq!(api.recording("porch").await["frames"], 0);
    api.stop().await;

    // With a folder set, a database in memory is no obstacle.
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.cameras.recordings = Some(folder.path().join("elsewhere"));
    let api = Api::with_config(config).await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.watched("porch").await;
    until("it is recorded", async || api.recorded("porch").await == 1).await;
    assert_eq!(super::segments(&folder.path().join("elsewhere/porch")).len(), 1);
    api.stop().await;
}

#[tokio::test]
async fn a_removed_module_takes_its_recordings_with_it() {
    let home = Home::new();
    let api = five_frames(&home).await;
    assert_eq!(home.segments("porch").len(), 1);

    api.delete("/api/modules/porch").ok().await;

    assert_eq!(home.segments("porch").len(), 0);
    assert_eq!(api.get("/api/cameras/porch/recording").problem().await.0, 404);
    // A new module of the same name starts without recordings.
    api.film("porch", picture(1)).await;
    let anew: Value = api.recording("porch").await;
    assert_eq!((&anew["mode"], &anew["frames"]), (&json!("off"), &json!(0)));
    api.stop().await;
    let api = home.start().await;
    assert_eq!(api.recorded("porch").await, 0);
    assert_eq!(api.call(Method::DELETE, "/api/modules/nobody").problem().await.0, 404);
    api.stop().await;
}
