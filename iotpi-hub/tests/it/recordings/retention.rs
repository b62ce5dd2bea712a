//! Expiry of recordings.

use std::time::Duration;

use serde_json::json;

use super::{Home, until};
use crate::support::api::{Api, jpeg};

const DAY: Duration = Duration::from_secs(86_400);

/// Records a frame in its own clip, and therefore in its own segment.
async fn one_segment(api: &Api, home: &Home, bytes: usize) {
    let before = home.segments("porch").len();
    let frames = api.recorded("porch").await;
    let seen = api.taken("porch").await;
    api.film("porch", jpeg(64, 48, bytes)).await;
    until("the recorder sees it", async || api.taken("porch").await > seen).await;
    until("it is indexed", async || api.recorded("porch").await > frames).await;
    assert_eq!(home.segments("porch").len(), before + 1);
}

#[tokio::test]
async fn whole_segments_go_when_they_are_too_old() {
    let home = Home::new();
    let api = home.start().await;
    api.record("porch", json!({"mode": "continuous", "keep_days": 2})).await;
    for _ in 0..4 {
        one_segment(&api, &home, 1000).await;
        api.hub.advance(Duration::from_secs(43_200));
    }

    // The first two segments are now older than two days. A step of half a day is within what the clock check
    // allows.
    api.hub.advance(Duration::from_secs(43_200));
    until("they go", async || api.recorded("porch").await == 3).await;
    until("their files go", async || home.segments("porch").len() == 3).await;

    api.hub.advance(DAY);
    until("more go", async || api.recorded("porch").await == 1).await;
    // The segment that is being written stays, whatever its age.
    api.hub.advance(30 * DAY);
    api.put("/api/cameras/porch/recording", json!({"mode": "off", "keep_days": 0})).ok().await;
    assert_eq!(api.recorded("porch").await, 1);
    api.stop().await;
}

#[tokio::test]
async fn the_oldest_segments_go_when_there_is_too_much() {
    let home = Home::new();
    let api = home.start().await;
    api.record("porch", json!({"mode": "continuous", "keep_days": 0, "keep_bytes": 16_000_000})).await;
    for _ in 0..5 {
        one_segment(&api, &home, 3_000_000).await;
        api.hub.advance(Duration::from_secs(60));
    }
    assert_eq!(api.recorded("porch").await, 5);
    let oldest = home.segments("porch")[0].clone();

    one_segment(&api, &home, 3_000_000).await;
    api.hub.advance(Duration::from_secs(60));

    until("the oldest goes", async || !oldest.exists()).await;
    until("and leaves the index", async || api.recorded("porch").await == 5).await;
    let bytes = api.recording("porch").await["bytes"].as_u64().unwrap();
    assert!(bytes <= 16_000_000, "{bytes}");
    assert_eq!(api.clips("porch").await.len(), 5);
    api.stop().await;
}

#[tokio::test]
async fn nothing_goes_for_its_age_while_the_clock_is_doubted() {
    let home = Home::new();
    let api = home.start().await;
    api.record("porch", json!({"mode": "continuous", "keep_days": 1})).await;
    one_segment(&api, &home, 1000).await;
    api.hub.advance(Duration::from_secs(60));
    one_segment(&api, &home, 1000).await;

    api.hub.step_to(crate::support::api::NOW.plus(400 * DAY));
    api.hub.advance(Duration::from_secs(60));
    // Trigger a run whose effect is visible: it removes what exceeds the limit.
    api.put("/api/cameras/porch/recording", json!({"mode": "continuous", "keep_days": 1})).ok().await;
    one_segment(&api, &home, 1000).await;

    assert_eq!(api.recorded("porch").await, 3);
    api.stop().await;
}
