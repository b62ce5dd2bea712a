//! A hub stops in order while the HTTP server of its program goes on.

use std::net::SocketAddr;

use axum::{Router, routing::get};
use http::Method;
use iotpi_core::SystemClock;
use iotpi_hub::{Config, Hub, store, testing::TestHub};
use tokio::sync::oneshot;

use crate::support::{
    api::{Api, jpeg},
    wait::{bounded, until},
    wire::Wire,
};

#[tokio::test]
async fn a_stopped_hub_ends_its_streams_and_refuses_requests_while_other_routes_are_served() {
    let store = store::open("sqlite::memory:").await.unwrap();
    let hub = Hub::start(Config::default(), store, SystemClock::shared()).await.unwrap();
    let app = Router::new().route("/own", get(async || "own")).merge(hub.router());
    let (end, ended) = oneshot::channel::<()>();
    let served = TestHub::served_by(hub, |_, listener| async move {
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let ended = async { ended.await.unwrap() };
        axum::serve(listener, app).with_graceful_shutdown(ended).await.unwrap();
    });
    let api = Api::of(served.await.unwrap()).await;
    let frame = jpeg(64, 48, 2_000);
    let published = api.call(Method::POST, "/api/camera/frame?module_id=porch").jpeg(frame.clone());
    assert_eq!(published.send().await.status, 200);
    let mut viewer = Wire::to(&api.hub).await;
    viewer.head("GET /api/camera/stream?module_id=porch", &api.admin, &[]).await;
    assert_eq!(viewer.answer_head().await.status(), 200);
    viewer.read_bytes(frame.len()).await;
    let mut waiting = Wire::to(&api.hub).await;
    let module = api.register("lamp", serde_json::json!({})).await;
    let last_contact = async || api.get("/api/modules/lamp").ok().await["last_seen_at"].clone();
    let registered = last_contact().await;
    waiting.head("GET /api/modules/lamp/commands?wait=60", &module, &[]).await;
    until("the request for commands arrives", async || last_contact().await != registered).await;

    bounded("the hub stops", api.hub.hub().shutdown()).await.unwrap();

    viewer.read_until(b"\r\n0\r\n\r\n").await;
    assert_eq!(waiting.answer().await.0.status(), 200);
    assert_eq!(api.open(Method::GET, "/own").send().await.status, 200);
    let refused = api.get("/api/modules").send().await;
    assert_eq!((refused.status, refused.json()["kind"].as_str()), (503, Some("unavailable")));
    end.send(()).unwrap();
    api.stop().await;
}
