//! Expiry of recordings.

use std::time::Duration;

use serde_json::json;

use super::{DataFolder, until};
use crate::support::api::{Api, jpeg};

const DAY: Duration = Duration::from_secs(86_400);

/// Records a frame in a separate clip, and therefore in a separate segment.
async fn record_segment(api: &Api, data: &DataFolder, bytes: usize) {
    let before = data.segments("porch").len();
    let frames = api.recorded_count("porch").await;
    let received = api.frames_to_recorder("porch").await;
    api.publish("porch", jpeg(64, 48, bytes)).await;
    until("the recorder received the frame", async || api.frames_to_recorder("porch").await > received).await;
    until("the frame is indexed", async || api.recorded_count("porch").await > frames).await;
    assert_eq!(data.segments("porch").len(), before + 1);
}

#[tokio::test]
async fn segments_that_are_too_old_are_deleted() {
    let data = DataFolder::new();
    let api = data.start().await;
    api.record("porch", json!({"mode": "continuous", "keep_days": 2})).await;
    for _ in 0..4 {
        record_segment(&api, &data, 1000).await;
        api.hub.advance(Duration::from_secs(43_200));
    }

    // The first two segments are now older than two days. A step of half a day is within what the clock check
    // allows.
    api.hub.advance(Duration::from_secs(43_200));
    until("the old frames are deleted", async || api.recorded_count("porch").await == 3).await;
    until("the old files are deleted", async || data.segments("porch").len() == 3).await;

    api.hub.advance(DAY);
    until("more frames are deleted", async || api.recorded_count("porch").await == 1).await;
    // The segment that is being written stays, whatever its age.
    api.hub.advance(30 * DAY);
    api.put("/api/cameras/porch/recording", json!({"mode": "off", "keep_days": 0})).ok().await;
    assert_eq!(api.recorded_count("porch").await, 1);
    api.stop().await;
}

#[tokio::test]
async fn the_oldest_segments_are_deleted_above_the_size_limit() {
    let data = DataFolder::new();
    let api = data.start().await;
    api.record("porch", json!({"mode": "continuous", "keep_days": 0, "keep_bytes": 16_000_000})).await;
    for _ in 0..5 {
        record_segment(&api, &data, 3_000_000).await;
        api.hub.advance(Duration::from_secs(60));
    }
    assert_eq!(api.recorded_count("porch").await, 5);
    let oldest = data.segments("porch")[0].clone();

    record_segment(&api, &data, 3_000_000).await;
    api.hub.advance(Duration::from_secs(60));

    until("the oldest file is deleted", async || !oldest.exists()).await;
    until("the oldest frame is no longer indexed", async || api.recorded_count("porch").await == 5).await;
    let bytes = api.recording("porch").await["bytes"].as_u64().unwrap();
    assert!(bytes <= 16_000_000, "{bytes}");
    assert_eq!(api.clips("porch").await.len(), 5);
    api.stop().await;
}

#[tokio::test]
async fn no_recording_expires_after_the_clock_was_stepped() {
    let data = DataFolder::new();
    let api = data.start().await;
    api.record("porch", json!({"mode": "continuous", "keep_days": 1})).await;
    record_segment(&api, &data, 1000).await;
    api.hub.advance(Duration::from_secs(60));
    record_segment(&api, &data, 1000).await;

    api.hub.step_to(crate::support::api::NOW.plus(400 * DAY));
    api.hub.advance(Duration::from_secs(60));
    // This triggers an expiry run. Its effect would be visible.
    api.put("/api/cameras/porch/recording", json!({"mode": "continuous", "keep_days": 1})).ok().await;
    record_segment(&api, &data, 1000).await;

    assert_eq!(api.recorded_count("porch").await, 3);
    api.stop().await;
}
