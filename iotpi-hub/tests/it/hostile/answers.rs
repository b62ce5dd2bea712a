//! Answers that nobody reads.

use std::time::{Duration, Instant};

use http::Method;
use iotpi_hub::auth::Role;

use crate::support::{
    api::{Api, jpeg},
    wire::Wire,
};

#[tokio::test]
async fn a_client_that_does_not_read_its_response_is_disconnected() {
    let api = Api::start().await;
    api.call(Method::POST, "/api/camera/frame").jpeg(jpeg(64, 48, 8_000_000)).ok().await;
    let begun = Instant::now();
    let mut stalled = Vec::new();
    for _ in 0..4 {
        // Each of a caller of its own: one could not hold four frames of 8 MB.
        let viewer = api.token(Role::Viewer).await;
        let mut wire = Wire::to(&api.hub).await;
        wire.head("GET /api/camera/snapshot", &viewer, &[]).await;
        stalled.push(wire);
    }

    let stalled_total = async || {
        let metrics = String::from_utf8(api.get("/metrics").send().await.body.to_vec()).unwrap();
        metrics.lines().find_map(|line| line.strip_prefix("iotpi_connections_stalled_total ")?.parse().ok())
    };
    while stalled_total().await != Some(4.0) {
        tokio::task::yield_now().await;
    }

    assert!(begun.elapsed() > Duration::from_secs(15), "{:?}", begun.elapsed());
    for mut wire in stalled {
        assert!(wire.is_closed().await);
    }
    api.stop().await;
}
