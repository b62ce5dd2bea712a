//! Recording modes and triggers.

use std::time::Duration;

use iotpi_hub::{Config, maintenance::Machine};
use serde_json::json;

use super::{DataFolder, numbered_frame, until};
use crate::support::api::{Api, NOW, NOW_SECS};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_continuous_recording_has_every_frame_unchanged_and_resumes_after_a_restart() {
    let data = DataFolder::new();
    let api = data.start().await;
    let set = api.record("porch", json!({"mode": "continuous"})).await;
    api.wait_for_recorder("porch").await;

    api.publish_all("porch", 0..20, Duration::from_millis(100)).await;
    until("all frames are indexed", async || api.recorded_count("porch").await == 21).await;

    assert_eq!(
        (&set["mode"], &set["recording"], &set["paused"]),
        (&json!("continuous"), &json!(true), &json!(null))
    );
    let expected: Vec<_> = std::iter::once(999).chain(0..20).map(numbered_frame).collect();
    assert_eq!(api.recorded_frames("porch").await, expected);
    let clips = api.clips("porch").await;
    assert_eq!((clips.len(), &clips[0]["reason"]), (1, &json!("continuous")));
    assert_eq!(api.metric("iotpi_recorded_frames_total").await, 21.0);
    assert_eq!(api.metric("iotpi_recording_errors_total").await, 0.0);
    api.stop().await;

    let api = data.start().await;
    assert_eq!(api.recording("porch").await["mode"], "continuous");
    assert_eq!(api.recorded_frames("porch").await, expected);
    api.wait_for_recorder("porch").await;
    until("recording resumes", async || api.recorded_count("porch").await == 22).await;
    api.stop().await;
}

#[tokio::test]
async fn frames_that_are_queued_when_the_hub_stops_are_recorded() {
    let data = DataFolder::new();
    let api = data.start().await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.wait_for_recorder("porch").await;
    api.publish_all("porch", 0..5, SECOND).await;
    api.stop().await;

    let api = data.start().await;

    assert_eq!(api.recorded_count("porch").await, 6);
    api.stop().await;
}

#[tokio::test]
async fn a_time_lapse_records_one_frame_per_interval_and_requests_no_more() {
    let data = DataFolder::new();
    let api = data.start().await;
    api.publish("porch", numbered_frame(0)).await;
    api.record("porch", json!({"mode": "time_lapse", "every_secs": 60})).await;
    until("the first frame is recorded", async || api.recorded_count("porch").await == 1).await;

    for n in 1..4 {
        api.hub.advance(Duration::from_secs(30));
        // Published before the next frame of the time lapse is due.
        api.publish("porch", numbered_frame(100 + n)).await;
        api.hub.advance(Duration::from_secs(29));
        let receipt = api.publish("porch", numbered_frame(n)).await;
        assert_eq!(receipt["viewers"], 0);
        api.hub.advance(SECOND);
        until("the next frame is recorded", async || api.recorded_count("porch").await == n as u64 + 1).await;
    }

    assert_eq!(api.recorded_frames("porch").await, [0, 1, 2, 3].map(numbered_frame));
    let clips = api.clips("porch").await;
    assert_eq!((clips.len(), &clips[0]["reason"]), (1, &json!("time_lapse")));
    api.stop().await;
}

/// Publishes ten frames, one per second, begins an event in the second of the last one, and publishes a frame
/// in each of the five seconds after it.
async fn check_event(begin: impl AsyncFn(&Api), reason: &str) {
    let data = DataFolder::new();
    let api = data.start().await;
    let triggers =
        json!([{"module_id": "door", "type": "stir", "above": 0.5}, {"module_id": "led", "action": "set"}]);
    let settings = json!({"mode": "on_event", "before_secs": 3, "after_secs": 5, "triggers": triggers});
    let set = api.record("porch", settings).await;
    api.wait_for_recorder("porch").await;
    api.hub.advance(SECOND);
    api.publish_all("porch", 0..10, SECOND).await;
    assert_eq!((set["recording"].as_bool(), api.recorded_count("porch").await), (Some(false), 0));

    begin(&api).await;
    until("recording begins", async || api.recording("porch").await["recording"] == true).await;
    api.publish_all("porch", 10..16, SECOND).await;
    until("recording ends", async || api.recording("porch").await["recording"] == false).await;
    api.publish_all("porch", 20..22, SECOND).await;

    // The frames of the three seconds before the event and of the five seconds after it.
    let expected: Vec<_> = (7..15).map(numbered_frame).collect();
    until("all frames are indexed", async || api.recorded_count("porch").await == expected.len() as u64)
        .await;
    assert_eq!(api.recorded_frames("porch").await, expected);
    let clips = api.clips("porch").await;
    assert_eq!((clips.len(), clips[0]["reason"].as_str()), (1, Some(reason)));
    assert_eq!(clips[0]["begun_at"], NOW_SECS + 8.0);

    // The next event begins another clip, with the frames since the first event.
    begin(&api).await;
    until("recording begins again", async || api.recording("porch").await["recording"] == true).await;
    api.hub.advance(5 * SECOND);
    until("the second clip is indexed", async || api.clips("porch").await.len() == 2).await;
    let all: Vec<_> = expected.into_iter().chain([15, 20, 21].map(numbered_frame)).collect();
    until("all frames are indexed", async || api.recorded_count("porch").await == all.len() as u64).await;
    assert_eq!(api.recorded_frames("porch").await, all);
    api.stop().await;
}

#[tokio::test]
async fn a_reading_beyond_its_threshold_begins_a_recording_that_includes_earlier_frames() {
    check_event(
        async |api| {
            for value in [0.2, 0.5, 1.0] {
                api.post("/api/sensors/stir", json!({"module_id": "door", "value": value, "unit": "ratio"}))
                    .ok()
                    .await;
            }
        },
        "door stir 1",
    )
    .await;
}

#[tokio::test]
async fn a_command_that_succeeds_begins_a_recording() {
    check_event(
        async |api| {
            let led = api.lamp().await;
            api.post("/api/modules/led/control", json!({"action": "set"})).ok().await;
            let claimed = api.get("/api/modules/led/commands").token(&led).ok().await;
            assert_eq!(api.recording("porch").await["recording"], false);
            let command = &claimed["items"][0];
            let report = json!({"id": command["id"], "lease": command["lease"], "outcome": "succeeded"});
            api.post("/api/modules/led/status", json!({"command": report})).token(&led).ok().await;
        },
        "led set",
    )
    .await;
}

#[tokio::test]
async fn a_request_begins_a_recording() {
    check_event(
        async |api| {
            let request = json!({"secs": 5, "reason": "doorbell"});
            api.post("/api/cameras/porch/record", request).ok().await;
        },
        "doorbell",
    )
    .await;
}

#[tokio::test]
async fn an_old_reading_or_one_of_another_series_begins_no_recording() {
    let data = DataFolder::new();
    let api = data.start().await;
    let triggers = json!([{"module_id": "door", "type": "stir", "above": 0.5, "below": -1}]);
    api.record("porch", json!({"mode": "on_event", "triggers": triggers})).await;
    api.wait_for_recorder("porch").await;

    let old = NOW_SECS - 61.0;
    let stir = json!({"module_id": "door", "value": 1, "unit": "1", "timestamp": old});
    api.post("/api/sensors/stir", stir).ok().await;
    api.post("/api/sensors/knocks", json!({"module_id": "door", "value": 1, "unit": "ratio"})).ok().await;
    api.post("/api/sensors/stir", json!({"module_id": "gate", "value": 1, "unit": "ratio"})).ok().await;
    assert_eq!(api.recording("porch").await["recording"], false);

    // Events are evaluated in order, so the clip names the first reading that matched.
    api.post("/api/sensors/stir", json!({"module_id": "door", "value": -2, "unit": "ratio"})).ok().await;
    until("recording begins", async || api.recording("porch").await["recording"] == true).await;
    until("a clip is indexed", async || api.clips("porch").await.len() == 1).await;
    assert_eq!(api.clips("porch").await[0]["reason"], "door stir -2");
    api.stop().await;
}

#[tokio::test]
async fn a_trigger_with_an_empty_channel_is_for_readings_of_the_default_channel_alone() {
    let data = DataFolder::new();
    let api = data.start().await;
    let trigger = json!({"module_id": "boiler", "type": "heat", "channel": "", "above": 60.0});
    let set = api.record("porch", json!({"mode": "on_event", "triggers": [trigger]})).await;
    assert_eq!(set["triggers"], json!([trigger]));
    api.wait_for_recorder("porch").await;

    let supply = json!({"module_id": "boiler", "channel": "supply", "value": 70, "unit": "ratio"});
    api.post("/api/sensors/heat", supply).ok().await;
    api.post("/api/sensors/heat", json!({"module_id": "boiler", "value": 80, "unit": "ratio"})).ok().await;

    // Events are evaluated in order, so the clip names the first reading that matched.
    until("a clip is indexed", async || api.clips("porch").await.len() == 1).await;
    assert_eq!(api.clips("porch").await[0]["reason"], "boiler heat 80");
    api.stop().await;
}

#[tokio::test]
async fn a_trigger_whose_event_was_dropped_is_read_from_the_store() {
    let data = DataFolder::new();
    let mut config = Config::default();
    config.limits.live_backlog = 1;
    let api = data.start_on(config, Machine::default(), NOW).await;
    let triggers = json!([{"module_id": "door", "type": "stir", "above": 0.5}]);
    api.record("porch", json!({"mode": "on_event", "triggers": triggers})).await;

    // Three events at the same time, of which the recorder receives only the last one.
    let reading = |value: f64| json!({"module_id": "door", "value": value, "unit": "ratio"});
    api.post("/api/sensors/stir", json!([reading(1.0), reading(0.1), reading(0.2)])).ok().await;

    until("recording begins", async || api.recording("porch").await["recording"] == true).await;
    api.stop().await;
}

#[tokio::test]
async fn a_camera_with_mode_off_is_recorded_on_request_and_has_no_viewer_afterwards() {
    let data = DataFolder::new();
    let api = data.start().await;
    api.publish("porch", numbered_frame(0)).await;
    assert_eq!(api.publish("porch", numbered_frame(0)).await["viewers"], 0);

    let begun = api.post("/api/cameras/porch/record", json!({"secs": 10})).ok().await;
    api.wait_for_recorder("porch").await;
    api.publish_all("porch", 1..4, SECOND).await;
    api.hub.advance(10 * SECOND);
    until("the camera has no viewer", async || api.publish("porch", numbered_frame(9)).await["viewers"] == 0)
        .await;

    assert_eq!((&begun["mode"], &begun["recording"]), (&json!("off"), &json!(true)));
    // The newest frame at the start, then the frames that arrived, and none after the end.
    let has_all = async || api.recorded_frames("porch").await.ends_with(&[1, 2, 3].map(numbered_frame));
    until("all frames are indexed", has_all).await;
    let reason = api.clips("porch").await[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("asked for by admin-"), "{reason}");
    api.stop().await;
}

#[tokio::test]
async fn a_pause_ends_a_clip_and_no_signal_frames_are_not_recorded() {
    let data = DataFolder::new();
    let api = data.start().await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.wait_for_recorder("porch").await;

    api.hub.advance(20 * SECOND);
    // Every viewer receives a no-signal frame, and so does the recorder.
    let before = api.frames_to_recorder("porch").await;
    until("the recorder received the no-signal frame", async || {
        api.frames_to_recorder("porch").await > before
    })
    .await;
    api.publish_all("porch", 0..2, SECOND).await;
    until("all frames are indexed", async || api.recorded_count("porch").await == 3).await;

    assert_eq!(api.recorded_frames("porch").await, [999, 0, 1].map(numbered_frame));
    assert_eq!(api.clips("porch").await.len(), 2);
    api.stop().await;
}
