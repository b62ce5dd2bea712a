//! The frame publisher of the client.

use std::time::Duration;

use bytes::Bytes;
use iotpi_core::{
    Clock, Frame, HubClient, SystemClock, UplinkError,
    client::{FramePublisher, FrameReceiver, PublisherState},
    model::{camera::WatchedCamera, error::ErrorKind},
};
use iotpi_hub::{Config, auth::Role, testing::TestHub};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::{
    api::{Api, NOW_SECS, id, jpeg},
    faulty_network::{Fault, Proxy},
    wait::{LIMIT, bounded},
};

fn frame(content_bytes: usize) -> Frame {
    Frame::from_jpeg(Bytes::from(jpeg(8, 8, content_bytes)), SystemClock::new().now()).unwrap()
}

async fn porch(api: &Api) -> HubClient {
    HubClient::new(&api.hub.url()).unwrap().with_token(api.module("porch").await)
}

fn push(client: HubClient, mut frames: FrameReceiver) -> JoinHandle<Result<(), UplinkError>> {
    tokio::spawn(async move { client.stream_frames(&id("porch"), &mut frames).await })
}

async fn wait_for_state(
    publisher: &FramePublisher,
    met: impl FnMut(&PublisherState) -> bool,
) -> PublisherState {
    publisher.changes().wait_for(met).await.unwrap().clone()
}

async fn camera(api: &Api) -> WatchedCamera {
    serde_json::from_value(api.get("/api/cameras").ok().await["items"][0].clone()).unwrap()
}

#[tokio::test]
async fn published_frames_reach_the_viewers_and_the_publisher_knows_their_number() {
    let api = Api::start().await;
    let (publisher, frames) = FramePublisher::channel();
    let pushing = push(porch(&api).await, frames);
    let viewer = HubClient::new(&api.hub.url()).unwrap().with_token(&api.admin);

    publisher.publish(frame(100_000));
    let first = wait_for_state(&publisher, |state| state.online).await;
    let mut stream = viewer.frames(Some(&id("porch"))).await.unwrap();
    let newest = bounded("a frame", stream.next()).await.unwrap().unwrap();
    wait_for_state(&publisher, |state| state.viewers == 1).await;
    publisher.publish(frame(50_000));
    let next = bounded("a frame", stream.next()).await.unwrap().unwrap();
    drop(stream);
    wait_for_state(&publisher, |state| state.viewers == 0).await;
    drop(publisher);

    pushing.await.unwrap().unwrap();
    assert_eq!(first.viewers, 0);
    assert_eq!((newest, next), (frame(100_000).jpeg().clone(), frame(50_000).jpeg().clone()));
    let seen = camera(&api).await.camera;
    assert_eq!((seen.frames, seen.missing, seen.refused), (2, 0, 0));
    api.stop().await;
}

#[tokio::test]
async fn capture_times_are_converted_to_the_hubs_clock_if_the_cameras_clock_is_wrong() {
    let api = Api::with_manual_clock().await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(porch(&api).await, frames);
    let frame = frame(1000);

    publisher.publish(frame.clone());
    wait_for_state(&publisher, |state| state.online).await;

    // The clock of the hub does not advance. The rest is half a round trip and the time from capture to
    // sending.
    let seen = camera(&api).await.camera;
    assert_eq!(seen.taken_at, frame.taken_at());
    assert!((NOW_SECS - 10.0..=NOW_SECS).contains(&seen.captured_at.as_secs_f64()), "{seen:?}");
    drop(publisher);
    api.stop().await;
}

#[tokio::test]
async fn a_module_cannot_publish_frames_of_another() {
    let api = Api::start().await;
    let client = HubClient::new(&api.hub.url()).unwrap().with_token(api.module("attic").await);
    let (publisher, frames) = FramePublisher::channel();
    publisher.publish(frame(1000));

    let error = push(client, frames).await.unwrap().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    api.stop().await;
}

#[tokio::test]
async fn a_stopping_hub_ends_frame_streams_and_does_not_wait_for_them() {
    let api = Api::start().await;
    let (publisher, frames) = FramePublisher::channel();
    let pushing = push(porch(&api).await, frames);
    publisher.publish(frame(1000));
    wait_for_state(&publisher, |state| state.online).await;

    api.stop().await;

    assert_eq!(pushing.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
}

/// Publishes a frame of a unique size, and waits until it is the newest at the hub.
async fn publish_and_wait(hub: &TestHub, token: &str, publisher: &FramePublisher, content_bytes: usize) {
    let frame = frame(content_bytes);
    let viewer = HubClient::new(&hub.url()).unwrap().with_token(token);
    publisher.publish(frame.clone());
    let arriving = async {
        while viewer.snapshot(Some(&id("porch"))).await.ok().as_ref() != Some(frame.jpeg()) {
            tokio::task::yield_now().await;
        }
    };
    let arrived = tokio::time::timeout(LIMIT, arriving).await;
    assert!(arrived.is_ok(), "the frame of {content_bytes} bytes did not arrive: {:?}", publisher.state());
}

#[tokio::test(flavor = "multi_thread")]
async fn through_every_network_fault_and_hub_restarts_the_publisher_reconnects() {
    let data = TempDir::new().unwrap();
    let store = format!("sqlite://{}", data.path().join("hub.db").display());
    let mut hub = TestHub::with_store(Config::default(), &store).await.unwrap();
    let (module, viewer) =
        (hub.module_token(&id("porch")).await.unwrap(), hub.token(Role::Viewer).await.unwrap());
    let proxy = Proxy::to(hub.address()).await;
    let client = HubClient::new(&proxy.url()).unwrap().with_token(module);
    let (publisher, frames) = FramePublisher::channel();
    let line = client.with_deadline(Duration::from_secs(1)).uplink(id("porch"));
    let sending = tokio::spawn(async move { frames.forward_to(&line).await });
    publish_and_wait(&hub, &viewer, &publisher, 1).await;

    for (round, fault) in Fault::ALL.into_iter().enumerate() {
        proxy.set(fault, 700);
        for extra in 0..5 {
            publisher.publish(frame(50_000 + 100 * extra));
            tokio::task::yield_now().await;
        }
        if round % 2 == 0 {
            hub.stop().await.unwrap();
            publisher.publish(frame(10));
            hub = TestHub::with_store(Config::default(), &store).await.unwrap();
            proxy.move_to(hub.address());
        }
        proxy.set(Fault::None, 0);

        publish_and_wait(&hub, &viewer, &publisher, 1000 + round).await;
    }

    drop(publisher);
    sending.await.unwrap();
    hub.stop().await.unwrap();
}
