//! Responses that the client does not read.

use http::Method;
use iotpi_hub::auth::Role;

use crate::support::{
    api::{Api, jpeg},
    wait::until,
    wire::Wire,
};

#[tokio::test]
async fn a_client_that_does_not_read_its_response_is_disconnected() {
    let api = Api::start().await;
    api.call(Method::POST, "/api/camera/frame").jpeg(jpeg(64, 48, 8_000_000)).ok().await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        // A token for each: one caller could not hold four frames of 8 MB.
        let viewer = api.token(Role::Viewer).await;
        let mut wire = Wire::to(&api.hub).await;
        wire.head("GET /api/camera/snapshot", &viewer, &[]).await;
        stalled.push(wire);
    }

    until("the hub counts four stalled connections", async || {
        api.metrics().await.contains("iotpi_connections_stalled_total 4\n")
    })
    .await;

    for mut wire in stalled {
        wire.wait_for_close().await;
    }
    api.stop().await;
}
