//! Recording modes and triggers.

use std::time::Duration;

use iotpi_hub::{Config, maintenance::Machine};
use serde_json::json;

use super::{Home, picture, until};
use crate::support::api::{NOW, NOW_SECS};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_continuous_recording_has_every_frame_untouched_and_survives_a_restart() {
    let home = Home::new();
    let api = home.start().await;
    let set = api.record("porch", json!({"mode": "continuous"})).await;
    api.watched("porch").await;

    api.film_all("porch", 0..20, Duration::from_millis(100)).await;
    until("all are indexed", async || api.recorded("porch").await == 21).await;

    assert_eq!(
        (&set["mode"], &set["recording"], &set["paused"]),
        (&json!("continuous"), &json!(true), &json!(null))
    );
    let expected: Vec<_> = std::iter::once(999).chain(0..20).map(picture).collect();
    assert_eq!(api.pictures("porch").await, expected);
    let clips = api.clips("porch").await;
    assert_eq!((clips.len(), &clips[0]["reason"]), (1, &json!("continuous")));
    assert_eq!(api.metric("iotpi_recorded_frames_total").await, 21.0);
    assert_eq!(api.metric("iotpi_recording_errors_total").await, 0.0);
    api.stop().await;

    let api = home.start().await;
    assert_eq!(api.recording("porch").await["mode"], "continuous");
    assert_eq!(api.pictures("porch").await, expected);
    api.watched("porch").await;
    until("it goes on", async || api.recorded("porch").await == 22).await;
    api.stop().await;
}

#[tokio::test]
async fn what_waits_when_the_hub_stops_is_recorded() {
    let home = Home::new();
    let api = home.start().await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.watched("porch").await;
    api.film_all("porch", 0..5, SECOND).await;
    api.stop().await;

    let api = home.start().await;

    assert_eq!(api.recorded("porch").await, 6);
    api.stop().await;
}

#[tokio::test]
async fn a_time_lapse_takes_one_frame_an_interval_and_asks_for_no_more() {
    let home = Home::new();
    let api = home.start().await;
    api.film("porch", picture(0)).await;
    api.record("porch", json!({"mode": "time_lapse", "every_secs": 60})).await;
    until("the first is there", async || api.recorded("porch").await == 1).await;

    for n in 1..4 {
        api.hub.advance(Duration::from_secs(30));
        // Published before the next frame of the time lapse is due.
        api.film("porch", picture(100 + n)).await;
        api.hub.advance(Duration::from_secs(29));
        let receipt = api.film("porch", picture(n)).await;
        assert_eq!(receipt["viewers"], 0);
        api.hub.advance(SECOND);
        until("the next is there", async || api.recorded("porch").await == n as u64 + 1).await;
    }

    assert_eq!(api.pictures("porch").await, [0, 1, 2, 3].map(picture));
    let clips = api.clips("porch").await;
    assert_eq!((clips.len(), &clips[0]["reason"]), (1, &json!("time_lapse")));
    api.stop().await;
}

/// Ten frames a second apart, an event in the second of the last one, and five frames in the five seconds
/// after it.
async fn an_event(begin: impl AsyncFn(&crate::support::api::Api), reason: &str) {
    let home = Home::new();
    let api = home.start().await;
    let triggers =
        json!([{"module_id": "door", "type": "stir", "above": 0.5}, {"module_id": "led", "action": "set"}]);
    let settings = json!({"mode": "on_event", "before_secs": 3, "after_secs": 5, "triggers": triggers});
    let set = api.record("porch", settings).await;
    api.watched("porch").await;
    api.hub.advance(SECOND);
    api.film_all("porch", 0..10, SECOND).await;
    assert_eq!((set["recording"].as_bool(), api.recorded("porch").await), (Some(false), 0));

    begin(&api).await;
    until("it records", async || api.recording("porch").await["recording"] == true).await;
    api.film_all("porch", 10..16, SECOND).await;
    until("the event is over", async || api.recording("porch").await["recording"] == false).await;
    api.film_all("porch", 20..22, SECOND).await;

    // The three seconds before the event and the five after it, and nothing later.
    let expected: Vec<_> = (7..15).map(picture).collect();
    until("all are indexed", async || api.recorded("porch").await == expected.len() as u64).await;
    assert_eq!(api.pictures("porch").await, expected);
    let clips = api.clips("porch").await;
    assert_eq!((clips.len(), clips[0]["reason"].as_str()), (1, Some(reason)));
    assert_eq!(clips[0]["begun_at"], NOW_SECS + 8.0);

    // The next event starts a clip of its own, with the frames since the first event.
    begin(&api).await;
    until("it records again", async || api.recording("porch").await["recording"] == true).await;
    api.hub.advance(5 * SECOND);
    until("the second is there", async || api.clips("porch").await.len() == 2).await;
    let all: Vec<_> = expected.into_iter().chain([15, 20, 21].map(picture)).collect();
    until("all are indexed", async || api.recorded("porch").await == all.len() as u64).await;
    assert_eq!(api.pictures("porch").await, all);
    api.stop().await;
}

#[tokio::test]
async fn a_reading_over_its_bound_begins_a_recording_with_what_was_before() {
    an_event(
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
async fn a_command_that_succeeded_begins_a_recording() {
    an_event(
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
async fn an_order_begins_a_recording() {
    an_event(
        async |api| {
            let order = json!({"secs": 5, "reason": "somebody rang"});
            api.post("/api/cameras/porch/record", order).ok().await;
        },
        "somebody rang",
    )
    .await;
}

#[tokio::test]
async fn an_old_reading_and_one_of_another_kind_are_no_event() {
    let home = Home::new();
    let api = home.start().await;
    let triggers = json!([{"module_id": "door", "type": "stir", "above": 0.5, "below": -1}]);
    api.record("porch", json!({"mode": "on_event", "triggers": triggers})).await;
    api.watched("porch").await;

    let old = NOW_SECS - 61.0;
    let stir = json!({"module_id": "door", "value": 1, "unit": "1", "timestamp": old});
    api.post("/api/sensors/stir", stir).ok().await;
    api.post("/api/sensors/knocks", json!({"module_id": "door", "value": 1, "unit": "ratio"})).ok().await;
    api.post("/api/sensors/stir", json!({"module_id": "gate", "value": 1, "unit": "ratio"})).ok().await;
    assert_eq!(api.recording("porch").await["recording"], false);

    // Events are evaluated in order, so the clip names the first reading that matched.
    api.post("/api/sensors/stir", json!({"module_id": "door", "value": -2, "unit": "ratio"})).ok().await;
    until("it records", async || api.recording("porch").await["recording"] == true).await;
    until("a clip is indexed", async || api.clips("porch").await.len() == 1).await;
    assert_eq!(api.clips("porch").await[0]["reason"], "door stir -2");
    api.stop().await;
}

#[tokio::test]
async fn a_trigger_whose_event_was_dropped_is_read_from_the_store() {
    let home = Home::new();
    let mut config = Config::default();
    config.limits.live_backlog = 1;
    let api = home.start_on(config, Machine::default(), NOW).await;
    let triggers = json!([{"module_id": "door", "type": "stir", "above": 0.5}]);
    api.record("porch", json!({"mode": "on_event", "triggers": triggers})).await;

    // Three events at once, of which the hub keeps the last one.
    let reading = |value: f64| json!({"module_id": "door", "value": value, "unit": "ratio"});
    api.post("/api/sensors/stir", json!([reading(1.0), reading(0.1), reading(0.2)])).ok().await;

    until("it records", async || api.recording("porch").await["recording"] == true).await;
    api.stop().await;
}

#[tokio::test]
async fn a_camera_that_is_off_is_recorded_when_somebody_asks_and_then_not_watched_any_more() {
    let home = Home::new();
    let api = home.start().await;
    api.film("porch", picture(0)).await;
    assert_eq!(api.film("porch", picture(0)).await["viewers"], 0);

    let begun = api.post("/api/cameras/porch/record", json!({"secs": 10})).ok().await;
    api.watched("porch").await;
    api.film_all("porch", 1..4, SECOND).await;
    api.hub.advance(10 * SECOND);
    until("nobody watches", async || api.film("porch", picture(9)).await["viewers"] == 0).await;

    assert_eq!((&begun["mode"], &begun["recording"]), (&json!("off"), &json!(true)));
    // The newest frame at the start, then the frames that arrived; nothing after the end.
    let has_all = async || api.pictures("porch").await.ends_with(&[1, 2, 3].map(picture));
    until("all are indexed", has_all).await;
    let reason = api.clips("porch").await[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("asked for by admin-"), "{reason}");
    api.stop().await;
}

#[tokio::test]
async fn a_pause_ends_a_stretch_and_a_lost_camera_is_not_recorded() {
    let home = Home::new();
    let api = home.start().await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.watched("porch").await;

    api.hub.advance(20 * SECOND);
    // Viewers have been sent a "no signal" frame by now; the recorder is one of them.
    let before = api.taken("porch").await;
    until("the loss is shown", async || api.taken("porch").await > before).await;
    api.film_all("porch", 0..2, SECOND).await;
    until("all are indexed", async || api.recorded("porch").await == 3).await;

    assert_eq!(api.pictures("porch").await, [999, 0, 1].map(picture));
    assert_eq!(api.clips("porch").await.len(), 2);
    api.stop().await;
}
