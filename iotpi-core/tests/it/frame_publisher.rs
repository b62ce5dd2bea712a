//! Films over real sockets, to a hub that does what a test tells it. To the real hub they are shown where the hub is.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use iotpi_core::{
    Clock, ErrorKind, Frame, FramePublisher, FrameReceiver, HubClient, ModuleId, PublisherState, SystemClock,
    UplinkError,
};
use tokio::task::JoinHandle;

use crate::{
    frame_hub::{FrameHub, Heard, Manners, frame_hub},
    hub, problem,
};

const AHEAD: f64 = 100.0;

fn id() -> ModuleId {
    ModuleId::new("porch").unwrap()
}

fn client(hub: &FrameHub) -> HubClient {
    HubClient::new(&hub.url).unwrap().with_token("iotpi_abc")
}

/// A picture of so many bytes, taken now.
fn picture(bytes: usize) -> Frame {
    let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 1, 0, 1];
    jpeg.resize(bytes - 2, 7);
    jpeg.extend([0xFF, 0xD9]);
    Frame::from_jpeg(Bytes::from(jpeg), SystemClock::new().now()).unwrap()
}

/// One line, not opened again.
fn push(client: HubClient, mut frames: FrameReceiver) -> JoinHandle<Result<(), UplinkError>> {
    tokio::spawn(async move { client.stream_frames(&id(), &mut frames).await })
}

/// A line that is opened again.
fn send(client: HubClient, frames: FrameReceiver) -> JoinHandle<()> {
    tokio::spawn(async move { frames.forward_to(&client.uplink(id())).await })
}

async fn until(publisher: &FramePublisher, met: impl FnMut(&PublisherState) -> bool) -> PublisherState {
    publisher.changes().wait_for(met).await.unwrap().clone()
}

fn field(head: &str, name: &str) -> Option<f64> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
}

#[tokio::test]
async fn pictures_travel_on_one_request_with_their_numbers_and_times() {
    let mut hub = frame_hub(Manners::default()).await;
    let (publisher, frames) = FramePublisher::channel();
    let pushing = push(client(&hub), frames);
    let shown = [picture(100), picture(200_000), picture(9000)];

    for (i, frame) in shown.iter().enumerate() {
        publisher.publish(frame.clone());
        let (head, jpeg) = hub.part().await;

        assert!(jpeg == frame.jpeg(), "picture {i} arrived otherwise");
        assert!(head.contains("content-type: image/jpeg"), "{head}");
        assert_eq!(field(&head, "x-sequence"), Some(i as f64 + 1.0));
        assert_eq!(field(&head, "x-timestamp"), Some(frame.taken_at().as_secs_f64()));
    }
    drop(publisher);

    assert!(matches!(hub.next().await, Heard::End { in_order: true }));
    pushing.await.unwrap().unwrap();
    // One asked for the time in vain, one took all frames.
    assert_eq!(hub.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_request_says_who_sends_and_how_parts_are_told_apart() {
    let mut hub = frame_hub(Manners::default()).await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(client(&hub), frames);

    publisher.publish(picture(100));

    let Some(Heard::Push { authorization, content_type }) = hub.heard.recv().await else { panic!() };
    assert_eq!(authorization.unwrap(), "Bearer iotpi_abc");
    assert_eq!(content_type, "multipart/x-mixed-replace; boundary=iotpi-picture");
}

#[tokio::test]
async fn who_watches_is_heard_while_pictures_go() {
    let mut hub = frame_hub(Manners::default()).await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(client(&hub), frames);

    publisher.publish(picture(100));
    hub.receipt(0);
    until(&publisher, |state| state.online && state.viewers == 0).await;
    hub.receipt(2);
    until(&publisher, |state| state.viewers == 2).await;
    publisher.publish(picture(200));
    hub.part().await;
    let (_, jpeg) = hub.part().await;

    assert_eq!(jpeg.len(), 200);
}

#[tokio::test]
async fn a_slow_line_carries_the_newest_picture_and_queues_none() {
    let mut hub = frame_hub(Manners { slow: true, ..Manners::default() }).await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(client(&hub), frames);
    publisher.publish(picture(100_000));
    hub.part().await;

    // The hub takes nothing meanwhile; each picture is offered to the line.
    for _ in 0..300 {
        publisher.publish(picture(100_000));
        tokio::task::yield_now().await;
    }
    hub.take.add_permits(10_000);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&301.0) {
        numbers.push(field(&hub.part().await.0, "x-sequence").unwrap());
    }

    // What the sockets' own buffers and hyper's hold, and the newest: 300 would be 30 MB.
    assert!(numbers.len() < 60, "{numbers:?}");
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[tokio::test]
async fn a_refused_picture_is_told_and_the_film_goes_on() {
    let mut hub = frame_hub(Manners::default()).await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(client(&hub), frames);
    publisher.publish(picture(100));
    hub.receipt(1);

    let refusal = serde_json::json!({"problem": problem(ErrorKind::Unprocessable)});
    hub.say.send(Some(format!("{refusal}\n"))).unwrap();
    let told = until(&publisher, |state| state.refused == 1).await;
    publisher.publish(picture(200));
    hub.part().await;
    hub.part().await;

    assert!(told.online);
    assert_eq!(told.error.unwrap().kind(), ErrorKind::Unprocessable);
    hub.receipt(2);
    assert!(until(&publisher, |state| state.viewers == 2).await.error.is_none());
}

#[tokio::test]
async fn a_hub_that_refuses_the_film_says_why() {
    let hub = frame_hub(Manners { strict: true, ..Manners::default() }).await;
    let (publisher, frames) = FramePublisher::channel();
    publisher.publish(picture(100));

    let error = push(client(&hub), frames).await.unwrap().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn an_answer_that_ends_or_is_none_of_a_hub_breaks_the_line() {
    for (last_words, kind) in [
        (None, ErrorKind::Unavailable),
        (Some("<h1>welcome</h1>\n".to_owned()), ErrorKind::Unavailable),
        (
            Some(format!("{}\n", serde_json::json!({"problem": problem(ErrorKind::PermissionDenied)}))),
            ErrorKind::PermissionDenied,
        ),
    ] {
        let hub = frame_hub(Manners::default()).await;
        let (publisher, frames) = FramePublisher::channel();
        publisher.publish(picture(100));
        let pushing = push(client(&hub), frames);
        hub.receipt(1);
        until(&publisher, |state| state.online).await;

        hub.say.send(last_words).unwrap();

        assert_eq!(pushing.await.unwrap().unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn a_line_that_broke_is_opened_again_and_the_newest_picture_sent_again() {
    let mut hub = frame_hub(Manners::default()).await;
    let (publisher, frames) = FramePublisher::channel();
    let sending = send(client(&hub), frames);
    publisher.publish(picture(100));
    publisher.publish(picture(200));
    hub.receipt(1);
    until(&publisher, |state| state.viewers == 1).await;
    let (first, _) = hub.part().await;

    hub.say.send(None).unwrap();
    let broken = until(&publisher, |state| !state.online).await;
    let again = loop {
        if let Heard::Part { head, .. } = hub.next().await {
            break head;
        }
    };
    drop(publisher);
    sending.await.unwrap();

    assert_eq!((broken.viewers, broken.error.unwrap().kind()), (0, ErrorKind::Unavailable));
    assert_eq!(field(&first, "x-sequence"), Some(2.0));
    assert_eq!(field(&again, "x-sequence"), Some(2.0));
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_given_up() {
    let hub = frame_hub(Manners { slow: true, ..Manners::default() }).await;
    let (publisher, frames) = FramePublisher::channel();
    let pushing = push(client(&hub).with_deadline(Duration::from_millis(300)), frames);
    publisher.publish(picture(100));
    hub.receipt(1);
    until(&publisher, |state| state.online).await;

    // The first ones fill the buffers between.
    let error = loop {
        publisher.publish(picture(4_000_000));
        tokio::task::yield_now().await;
        if pushing.is_finished() {
            break pushing.await.unwrap().unwrap_err();
        }
    };

    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_older_hub_gets_each_picture_in_a_request_of_its_own() {
    let mut hub = frame_hub(Manners { old: true, ..Manners::default() }).await;
    let (publisher, frames) = FramePublisher::channel();
    let pushing = push(client(&hub), frames);

    for bytes in [100, 200] {
        let frame = picture(bytes);
        publisher.publish(frame.clone());
        let Heard::Single { target, headers, jpeg } = hub.next().await else { panic!() };
        assert_eq!(jpeg.len(), bytes);
        assert_eq!(headers["x-sequence"], (bytes / 100).to_string());
        let at = frame.taken_at().as_secs_f64();
        assert_eq!(target, format!("/api/camera/frame?module_id=porch&timestamp={at}"));
    }
    assert_eq!(until(&publisher, |state| state.online).await.viewers, 3);
    drop(publisher);

    pushing.await.unwrap().unwrap();
}

#[tokio::test]
async fn how_far_the_clocks_are_apart_travels_with_each_picture() {
    let mut hub = frame_hub(Manners { clock_ahead: Some(AHEAD), ..Manners::default() }).await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(client(&hub), frames);

    publisher.publish(picture(100));
    let (head, _) = hub.part().await;

    // Half a round trip on loopback, on a machine that is busy.
    let offset = field(&head, "x-clock-offset").unwrap();
    assert!((offset - AHEAD).abs() < 5.0, "{offset}");
}

#[tokio::test]
async fn nothing_is_estimated_when_the_hub_does_not_tell_the_time() {
    let mut hub = frame_hub(Manners::default()).await;
    let (publisher, frames) = FramePublisher::channel();
    let _pushing = push(client(&hub), frames);

    publisher.publish(picture(100));

    assert!(!hub.part().await.0.contains("x-clock-offset"));
}

#[tokio::test(start_paused = true)]
async fn the_next_picture_is_wanted_a_second_later_or_when_somebody_watches() {
    let hub = hub();
    let (publisher, frames) = FramePublisher::channel();
    let line = hub.clone();
    let _sending = tokio::spawn(async move { frames.forward_to(&line).await });
    let begun = tokio::time::Instant::now();

    publisher.demand().await;
    publisher.publish(picture(100));
    publisher.demand().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(1));

    publisher.publish(picture(100));
    tokio::time::sleep(Duration::from_millis(300)).await;
    hub.set_viewers(1);
    publisher.demand().await;
    publisher.publish(picture(100));
    publisher.demand().await;
    assert_eq!(begun.elapsed(), Duration::from_millis(1300));
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_last_is_sent_before_the_film_ends() {
    let hub = hub();
    let (publisher, frames) = FramePublisher::channel();

    publisher.publish(picture(100));
    drop(publisher);
    frames.forward_to(&hub).await;

    assert_eq!(hub.frames().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_film_without_a_hub_ends_when_it_is_over() {
    let hub = hub();
    hub.set_away(true);
    let (publisher, frames) = FramePublisher::channel();
    let line = hub.clone();
    let sending = tokio::spawn(async move { frames.forward_to(&line).await });

    publisher.publish(picture(100));
    until(&publisher, |state| state.error.is_some()).await;
    drop(publisher);

    sending.await.unwrap();
}
