use std::sync::Arc;

use iotpi_core::{Frame, Timestamp, model::camera::ViewerKind};
use proptest::prelude::*;
use tokio::time::advance;

use super::*;
use crate::frames::{Frames, Moment};

struct Cameras(Arc<Frames>);

fn id(text: &str) -> ModuleId {
    ModuleId::new(text).unwrap()
}

fn now() -> Moment {
    Moment { wall: Timestamp::FIRST_POSSIBLE, uptime: Duration::ZERO }
}

fn watch(cameras: &[(&str, Option<f64>)]) -> Vec<WatchRequest> {
    let request = |&(name, max_fps): &(&str, Option<f64>)| {
        let mut request = WatchRequest::new(id(name));
        request.max_fps = max_fps;
        request
    };
    cameras.iter().map(request).collect()
}

impl Cameras {
    fn new() -> Self {
        Self(Arc::new(Frames::new(3, Duration::from_secs(5), Arc::default())))
    }

    fn publish(&self, camera: &str) -> u32 {
        let jpeg: &[u8] = &[
            0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1, 0xFF, 0xDA,
            0, 2, 0xFF, 0xD9,
        ];
        let frame = Frame::from_jpeg(jpeg.into(), now().wall).unwrap();
        self.0.publish(&id(camera), frame, now()).unwrap().receipt.viewers
    }

    fn replace(&self, watches: &mut WatchedCameras, cameras: &[(&str, Option<f64>)]) -> Vec<usize> {
        let refused = watches.replace(watch(cameras), |id| {
            // Like a hub that knows three modules.
            let known = ["a", "b", "c"].contains(&id.as_str());
            known
                .then(|| self.0.watch(id, ViewerKind::Live, now()))
                .ok_or_else(|| HubError::not_found("unknown"))
        });
        refused.into_iter().map(|(at, _)| at).collect()
    }
}

/// The frame that may be sent now: the name of its camera and its number.
fn next_now(watches: &mut WatchedCameras) -> Option<(String, u64)> {
    match watches.poll_next(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(Next::Frame(id, frame)) => Some((id.into(), frame.seq)),
        Poll::Ready(Next::Removed(id)) => Some((id.into(), 0)),
        Poll::Pending => None,
    }
}

fn all(watches: &mut WatchedCameras) -> Vec<(String, u64)> {
    std::iter::from_fn(|| next_now(watches)).collect()
}

fn frame(camera: &str, seq: u64) -> (String, u64) {
    (camera.to_owned(), seq)
}

#[tokio::test]
async fn cameras_take_turns() {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    cameras.replace(&mut watches, &[("a", None), ("b", None), ("c", None)]);
    let mut sent = Vec::new();

    for _ in 0..6 {
        for camera in ["a", "b", "c"] {
            cameras.publish(camera);
        }
        let (camera, seq) = next_now(&mut watches).unwrap();
        watches.acknowledge(&id(&camera), seq);
        sent.push((camera, seq));
    }

    let turns = [("a", 1), ("b", 2), ("c", 3), ("a", 4), ("b", 5), ("c", 6)];
    assert_eq!(sent, turns.map(|(camera, seq)| frame(camera, seq)));
}

#[tokio::test]
async fn two_frames_are_in_flight_and_the_newest_follows_an_acknowledgement() {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    cameras.replace(&mut watches, &[("a", None), ("b", None)]);
    let mut sent = Vec::new();
    for _ in 0..5 {
        cameras.publish("a");
        sent.extend(all(&mut watches));
    }
    assert_eq!(sent, [frame("a", 1), frame("a", 2)]);

    // Numbers that were never sent, or belong to another camera.
    for (camera, seq) in [("a", 0), ("a", 3), ("a", u64::MAX), ("b", 1), ("nobody", 1)] {
        watches.acknowledge(&id(camera), seq);
        assert_eq!(next_now(&mut watches), None);
    }
    watches.acknowledge(&id("a"), 1);
    assert_eq!(all(&mut watches), [frame("a", 5)]);
    cameras.publish("a");
    watches.acknowledge(&id("a"), 1);
    assert_eq!(next_now(&mut watches), None);
    // The second of two acknowledges both.
    watches.acknowledge(&id("a"), 5);
    assert_eq!(all(&mut watches), [frame("a", 6)]);
    cameras.publish("a");
    assert_eq!(all(&mut watches), [frame("a", 7)]);
}

#[tokio::test]
async fn a_camera_removed_from_the_list_is_no_longer_watched_and_the_others_continue() {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    assert!(cameras.replace(&mut watches, &[("a", None), ("b", None)]).is_empty());
    assert_eq!((cameras.publish("a"), cameras.publish("b")), (1, 1));
    assert_eq!(all(&mut watches).len(), 2);

    // There is room for three cameras; the fourth is refused, and the others stand.
    cameras.publish("c");
    let refused = cameras.replace(&mut watches, &[("d", None), ("b", Some(1.0)), ("c", None)]);

    assert_eq!(refused, [0]);
    assert_eq!((cameras.publish("a"), cameras.publish("b"), cameras.publish("c")), (0, 1, 1));
    // The frame of `b` is still in flight.
    watches.acknowledge(&id("b"), 1);
    assert_eq!(watches.cameras[0].in_flight, [0_u64; 0]);
    cameras.replace(&mut watches, &[]);
    assert_eq!((cameras.publish("b"), cameras.publish("c")), (0, 0));
    assert_eq!(next_now(&mut watches), None);
}

#[tokio::test]
async fn a_removed_camera_is_reported_and_the_others_continue() {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    cameras.replace(&mut watches, &[("a", None), ("b", None)]);

    cameras.0.remove(&id("a"));
    cameras.publish("b");

    assert_eq!(all(&mut watches), [frame("a", 0), frame("b", 1)]);
}

/// Times at which frames were sent, with a camera of 1,000 frames a second, each acknowledged at once.
async fn sending_times(max_fps: f64, frames: usize) -> Vec<Duration> {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    cameras.replace(&mut watches, &[("a", Some(max_fps))]);
    let started = Instant::now();
    let mut sent = Vec::new();
    while sent.len() < frames {
        cameras.publish("a");
        while let Some((_, seq)) = next_now(&mut watches) {
            watches.acknowledge(&id("a"), seq);
            sent.push(started.elapsed());
        }
        advance(Duration::from_millis(1)).await;
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn a_client_gets_its_own_maximum_rate_steadily() {
    let sent = sending_times(30.0, 31).await;

    // A second for thirty, though a thirtieth of a second is no whole number of milliseconds.
    assert_eq!((sent[0], sent[30]), (Duration::ZERO, Duration::from_secs(1)));
    assert!(sent.windows(2).all(|two| (33..=34).contains(&(two[1] - two[0]).as_millis())), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_slow_rate_ends_by_itself() {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    cameras.replace(&mut watches, &[("a", Some(0.5)), ("b", Some(0.1))]);
    cameras.publish("a");
    assert_eq!(all(&mut watches), [frame("a", 1)]);
    cameras.publish("a");
    cameras.publish("a");
    assert_eq!(next_now(&mut watches), None);
    let started = Instant::now();

    let Next::Frame(_, newest) = watches.next().await else { panic!("nothing was removed") };

    assert_eq!((newest.seq, started.elapsed().as_secs()), (3, 2));
    // A higher rate applies from the next frame on.
    watches.acknowledge(&id("a"), 3);
    cameras.publish("a");
    cameras.replace(&mut watches, &[("a", None)]);
    assert_eq!(next_now(&mut watches), Some(frame("a", 4)));
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_frames_are_not_sent_in_a_burst() {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    cameras.replace(&mut watches, &[("a", Some(10.0))]);
    advance(Duration::from_secs(60)).await;
    let started = Instant::now();
    let mut sent = Vec::new();

    while started.elapsed() < Duration::from_secs(1) {
        cameras.publish("a");
        for (_, seq) in all(&mut watches) {
            watches.acknowledge(&id("a"), seq);
            sent.push(started.elapsed());
        }
        advance(Duration::from_millis(10)).await;
    }

    assert!((10..=11).contains(&sent.len()), "{sent:?}");
    assert!(sent.windows(2).all(|two| two[1] - two[0] >= Duration::from_millis(50)), "{sent:?}");
}

proptest! {
    #[test]
    fn any_rate_is_an_interval_between_frames(max_fps in prop_oneof![0.0..60.0_f64, Just(f64::MIN_POSITIVE), Just(60.0)]) {
        prop_assume!(max_fps > 0.0);

        prop_assert!((Duration::from_millis(16)..=MAX_INTERVAL).contains(&interval(max_fps)));
    }
}
