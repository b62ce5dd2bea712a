//! Frame streams over real sockets, to the server of `frame_hub.rs`. The tests of the hub use the real one.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use iotpi_core::{
    Clock, Frame, HubClient, ModuleId, SystemClock, UplinkError,
    client::{FramePublisher, FrameReceiver, PublisherState},
    model::error::ErrorKind,
};
use tokio::task::JoinHandle;

use crate::{
    bounded,
    frame_hub::{Behavior, FrameHub, Received, frame_hub},
    hub, problem,
};

const CLOCK_AHEAD: f64 = 100.0;

fn id() -> ModuleId {
    ModuleId::new("porch").unwrap()
}

fn client(hub: &FrameHub) -> HubClient {
    HubClient::new(&hub.url).unwrap().with_token("iotpi_abc")
}

/// A frame of this size, taken now.
fn frame(bytes: usize) -> Frame {
    let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 1, 0, 1];
    jpeg.resize(bytes - 2, 7);
    jpeg.extend([0xFF, 0xD9]);
    Frame::from_jpeg(Bytes::from(jpeg), SystemClock::new().now()).unwrap()
}

/// Streams frames on one connection, until it fails.
fn push(client: HubClient, mut frames: FrameReceiver) -> JoinHandle<Result<(), UplinkError>> {
    tokio::spawn(async move { client.stream_frames(&id(), &mut frames).await })
}

/// Streams frames, and reconnects after an error.
fn send(client: HubClient, frames: FrameReceiver) -> JoinHandle<()> {
    tokio::spawn(async move { frames.forward_to(&client.uplink(id())).await })
}

async fn wait_for_state(
    publisher: &FramePublisher,
    condition: impl FnMut(&PublisherState) -> bool,
) -> PublisherState {
    let mut changes = publisher.changes();
    bounded("the state of the publisher", changes.wait_for(condition)).await.unwrap().clone()
}

fn field(head: &str, name: &str) -> Option<f64> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
}

#[tokio::test]
async fn frames_are_sent_in_one_request_with_their_numbers_and_times() {
    let mut hub = frame_hub(Behavior::default()).await;
    let (publisher, frames) = FramePublisher::channel();
    let pushing = push(client(&hub), frames);
    let frames_sent = [frame(100), frame(200_000), frame(9000)];

    for (i, frame) in frames_sent.iter().enumerate() {
        publisher.publish(frame.clone());
        let (head, jpeg) = hub.part().await;

        assert!(jpeg == frame.jpeg(), "frame {i} was changed");
        assert!(head.contains("content-type: image/jpeg"), "{head}");
        assert_eq!(field(&head, "x-sequence"), Some(i as f64 + 1.0));
        assert_eq!(field(&head, "x-timestamp"), Some(frame.taken_at().as_secs_f64()));
    }
    drop(publisher);

    assert!(matches!(hub.next().await, Received::End { is_complete: true }));
    pushing.await.unwrap().unwrap();
    // One connection requested the time, and one had all frames.
    assert_eq!(hub.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_request_has_the_token_and_the_boundary() {
    let mut hub = frame_hub(Behavior::default()).await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(client(&hub), frames);

    publisher.publish(frame(100));

    let Some(Received::Push { authorization, content_type }) =
        bounded("a request", hub.received.recv()).await
    else {
        panic!()
    };
    assert_eq!(authorization.unwrap(), "Bearer iotpi_abc");
    assert_eq!(content_type, "multipart/x-mixed-replace; boundary=iotpi-picture");
}

#[tokio::test]
async fn the_number_of_viewers_is_received_while_frames_are_sent() {
    let mut hub = frame_hub(Behavior::default()).await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(client(&hub), frames);

    publisher.publish(frame(100));
    hub.send_receipt(0);
    wait_for_state(&publisher, |state| state.online && state.viewers == 0).await;
    hub.send_receipt(2);
    wait_for_state(&publisher, |state| state.viewers == 2).await;
    publisher.publish(frame(200));
    hub.part().await;
    let (_, jpeg) = hub.part().await;

    assert_eq!(jpeg.len(), 200);
}

#[tokio::test]
async fn a_slow_connection_sends_the_newest_frame_and_queues_none() {
    let mut hub = frame_hub(Behavior { is_slow: true, ..Behavior::default() }).await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(client(&hub), frames);
    publisher.publish(frame(100_000));
    hub.part().await;

    // The server reads nothing meanwhile.
    for _ in 0..300 {
        publisher.publish(frame(100_000));
        tokio::task::yield_now().await;
    }
    hub.permits.add_permits(10_000);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&301.0) {
        numbers.push(field(&hub.part().await.0, "x-sequence").unwrap());
    }

    // The frames in the buffers of the sockets and of hyper, and the newest one. 300 frames would be 30 MB.
    assert!(numbers.len() < 60, "{numbers:?}");
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[tokio::test]
async fn a_refused_frame_is_reported_and_the_stream_continues() {
    let mut hub = frame_hub(Behavior::default()).await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(client(&hub), frames);
    publisher.publish(frame(100));
    hub.send_receipt(1);

    let refusal = serde_json::json!({"problem": problem(ErrorKind::Unprocessable)});
    hub.response_lines.send(Some(format!("{refusal}\n"))).unwrap();
    let state = wait_for_state(&publisher, |state| state.refused == 1).await;
    publisher.publish(frame(200));
    hub.part().await;
    hub.part().await;

    assert!(state.online);
    assert_eq!(state.error.unwrap().kind(), ErrorKind::Unprocessable);
    hub.send_receipt(2);
    assert!(wait_for_state(&publisher, |state| state.viewers == 2).await.error.is_none());
}

#[tokio::test]
async fn the_error_of_a_refused_stream_is_returned() {
    let hub = frame_hub(Behavior { refuses: true, ..Behavior::default() }).await;
    let (publisher, frames) = FramePublisher::channel();
    publisher.publish(frame(100));

    let error = push(client(&hub), frames).await.unwrap().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn a_response_that_ends_or_is_not_from_a_hub_ends_the_stream() {
    for (last_line, kind) in [
        (None, ErrorKind::Unavailable),
        (Some("<h1>welcome</h1>\n".to_owned()), ErrorKind::Unavailable),
        (
            Some(format!("{}\n", serde_json::json!({"problem": problem(ErrorKind::PermissionDenied)}))),
            ErrorKind::PermissionDenied,
        ),
    ] {
        let hub = frame_hub(Behavior::default()).await;
        let (publisher, frames) = FramePublisher::channel();
        publisher.publish(frame(100));
        let pushing = push(client(&hub), frames);
        hub.send_receipt(1);
        wait_for_state(&publisher, |state| state.online).await;

        hub.response_lines.send(last_line).unwrap();

        assert_eq!(pushing.await.unwrap().unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn after_a_reconnect_the_newest_frame_is_sent_again() {
    let mut hub = frame_hub(Behavior::default()).await;
    let (publisher, frames) = FramePublisher::channel();
    let sending = send(client(&hub), frames);
    publisher.publish(frame(100));
    publisher.publish(frame(200));
    hub.send_receipt(1);
    wait_for_state(&publisher, |state| state.viewers == 1).await;
    let (first, _) = hub.part().await;

    hub.response_lines.send(None).unwrap();
    let disconnected = wait_for_state(&publisher, |state| !state.online).await;
    let again = loop {
        if let Received::Part { head, .. } = hub.next().await {
            break head;
        }
    };
    drop(publisher);
    sending.await.unwrap();

    assert_eq!((disconnected.viewers, disconnected.error.unwrap().kind()), (0, ErrorKind::Unavailable));
    assert_eq!(field(&first, "x-sequence"), Some(2.0));
    assert_eq!(field(&again, "x-sequence"), Some(2.0));
}

#[tokio::test]
async fn a_stream_to_a_server_that_reads_nothing_ends_at_the_deadline() {
    let hub = frame_hub(Behavior { is_slow: true, ..Behavior::default() }).await;
    let (publisher, frames) = FramePublisher::channel();
    let pushing = push(client(&hub).with_deadline(Duration::from_millis(300)), frames);
    publisher.publish(frame(100));
    hub.send_receipt(1);
    wait_for_state(&publisher, |state| state.online).await;

    // The first frames fill the buffers of the sockets.
    let filling = async {
        while !pushing.is_finished() {
            publisher.publish(frame(4_000_000));
            tokio::task::yield_now().await;
        }
    };
    bounded("the end of the stream", filling).await;
    let error = pushing.await.unwrap().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_older_hub_gets_each_frame_in_a_separate_request() {
    let mut hub = frame_hub(Behavior { is_old: true, ..Behavior::default() }).await;
    let (publisher, frames) = FramePublisher::channel();
    let pushing = push(client(&hub), frames);

    for bytes in [100, 200] {
        let sent = frame(bytes);
        publisher.publish(sent.clone());
        let Received::Single { target, headers, jpeg } = hub.next().await else { panic!() };
        assert_eq!(jpeg.len(), bytes);
        assert_eq!(headers["x-sequence"], (bytes / 100).to_string());
        let at = sent.taken_at().as_secs_f64();
        assert_eq!(target, format!("/api/camera/frame?module_id=porch&timestamp={at}"));
    }
    assert_eq!(wait_for_state(&publisher, |state| state.online).await.viewers, 3);
    drop(publisher);

    pushing.await.unwrap().unwrap();
}

#[tokio::test]
async fn each_frame_has_the_clock_offset() {
    let mut hub = frame_hub(Behavior { clock_ahead: Some(CLOCK_AHEAD), ..Behavior::default() }).await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(client(&hub), frames);

    publisher.publish(frame(100));
    let (head, _) = hub.part().await;

    // The error is half of a round trip on loopback, on a busy machine.
    let offset = field(&head, "x-clock-offset").unwrap();
    assert!((offset - CLOCK_AHEAD).abs() < 5.0, "{offset}");
}

#[tokio::test]
async fn without_the_time_of_the_hub_there_is_no_clock_offset() {
    let mut hub = frame_hub(Behavior::default()).await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(client(&hub), frames);

    publisher.publish(frame(100));

    assert!(!hub.part().await.0.contains("x-clock-offset"));
}

#[tokio::test(start_paused = true)]
async fn the_next_frame_is_demanded_after_a_second_or_when_a_viewer_arrives() {
    let hub = hub();
    let (publisher, frames) = FramePublisher::channel();
    let uplink = hub.clone();
    let _sending = tokio::spawn(async move { frames.forward_to(&uplink).await });
    let started = tokio::time::Instant::now();

    publisher.demand().await;
    publisher.publish(frame(100));
    publisher.demand().await;
    assert_eq!(started.elapsed(), Duration::from_secs(1));

    publisher.publish(frame(100));
    tokio::time::sleep(Duration::from_millis(300)).await;
    hub.set_viewers(1);
    publisher.demand().await;
    publisher.publish(frame(100));
    publisher.demand().await;
    assert_eq!(started.elapsed(), Duration::from_millis(1300));
}

#[tokio::test(start_paused = true)]
async fn the_last_frame_is_sent_before_the_stream_ends() {
    let hub = hub();
    let (publisher, frames) = FramePublisher::channel();

    publisher.publish(frame(100));
    drop(publisher);
    frames.forward_to(&hub).await;

    assert_eq!(hub.frames().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_hub_ends_with_its_publisher() {
    let hub = hub();
    hub.set_away(true);
    let (publisher, frames) = FramePublisher::channel();
    let uplink = hub.clone();
    let sending = tokio::spawn(async move { frames.forward_to(&uplink).await });

    publisher.publish(frame(100));
    wait_for_state(&publisher, |state| state.error.is_some()).await;
    drop(publisher);

    sending.await.unwrap();
}
