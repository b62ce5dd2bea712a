use std::sync::Arc;

use iotpi_core::{Frame, Timestamp, ViewerKind};
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
    cameras.iter().map(|&(name, max_fps)| WatchRequest { module_id: id(name), max_fps }).collect()
}

impl Cameras {
    fn new() -> Self {
        Self(Arc::new(Frames::new(3, Duration::from_secs(5), Arc::default())))
    }

    fn show(&self, camera: &str) -> u32 {
        let jpeg: &[u8] = &[
            0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1, 0xFF, 0xDA,
            0, 2, 0xFF, 0xD9,
        ];
        let frame = Frame::from_jpeg(jpeg.into(), now().wall).unwrap();
        self.0.publish(&id(camera), frame, now()).unwrap().receipt.viewers
    }

    fn replace(&self, watches: &mut WatchedCameras, cameras: &[(&str, Option<f64>)]) -> Vec<usize> {
        let refused = watches.replace(watch(cameras), |id| {
            // As a hub that knows three modules.
            let known = ["a", "b", "c"].contains(&id.as_str());
            known
                .then(|| self.0.watch(id, ViewerKind::Live, now()))
                .ok_or_else(|| HubError::not_found("unknown"))
        });
        refused.into_iter().map(|(at, _)| at).collect()
    }
}

/// What may go at once: the camera's name and the picture's number.
fn at_once(watches: &mut WatchedCameras) -> Option<(String, u64)> {
    match watches.poll_next(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(Next::Picture(id, shown)) => Some((id.into(), shown.seq)),
        Poll::Ready(Next::Removed(id)) => Some((id.into(), 0)),
        Poll::Pending => None,
    }
}

fn all(watches: &mut WatchedCameras) -> Vec<(String, u64)> {
    std::iter::from_fn(|| at_once(watches)).collect()
}

fn picture(camera: &str, seq: u64) -> (String, u64) {
    (camera.to_owned(), seq)
}

#[tokio::test]
async fn cameras_take_turns() {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    cameras.replace(&mut watches, &[("a", None), ("b", None), ("c", None)]);
    let mut sent = Vec::new();

    for _ in 0..6 {
        for camera in ["a", "b", "c"] {
            cameras.show(camera);
        }
        let (camera, seq) = at_once(&mut watches).unwrap();
        watches.shown(&id(&camera), seq);
        sent.push((camera, seq));
    }

    let turns = [("a", 1), ("b", 2), ("c", 3), ("a", 4), ("b", 5), ("c", 6)];
    assert_eq!(sent, turns.map(|(camera, seq)| picture(camera, seq)));
}

#[tokio::test]
async fn two_pictures_are_under_way_and_the_newest_follows_when_one_is_acknowledged() {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    cameras.replace(&mut watches, &[("a", None), ("b", None)]);
    let mut sent = Vec::new();
    for _ in 0..5 {
        cameras.show("a");
        sent.extend(all(&mut watches));
    }
    assert_eq!(sent, [picture("a", 1), picture("a", 2)]);

    // What was never sent, or of another camera.
    for (camera, seq) in [("a", 0), ("a", 3), ("a", u64::MAX), ("b", 1), ("nobody", 1)] {
        watches.shown(&id(camera), seq);
        assert_eq!(at_once(&mut watches), None);
    }
    watches.shown(&id("a"), 1);
    assert_eq!(all(&mut watches), [picture("a", 5)]);
    cameras.show("a");
    watches.shown(&id("a"), 1);
    assert_eq!(at_once(&mut watches), None);
    // The second of two stands for both.
    watches.shown(&id("a"), 5);
    assert_eq!(all(&mut watches), [picture("a", 6)]);
    cameras.show("a");
    assert_eq!(all(&mut watches), [picture("a", 7)]);
}

#[tokio::test]
async fn who_is_replaced_in_the_list_is_no_longer_watched_and_who_stays_goes_on() {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    assert!(cameras.replace(&mut watches, &[("a", None), ("b", None)]).is_empty());
    assert_eq!((cameras.show("a"), cameras.show("b")), (1, 1));
    assert_eq!(all(&mut watches).len(), 2);

    // There is room for three cameras; the fourth is refused, and the others stand.
    cameras.show("c");
    let refused = cameras.replace(&mut watches, &[("d", None), ("b", Some(1.0)), ("c", None)]);

    assert_eq!(refused, [0]);
    assert_eq!((cameras.show("a"), cameras.show("b"), cameras.show("c")), (0, 1, 1));
    // The picture of `b` that is under way still is.
    watches.shown(&id("b"), 1);
    assert_eq!(watches.cameras[0].under_way, [0_u64; 0]);
    cameras.replace(&mut watches, &[]);
    assert_eq!((cameras.show("b"), cameras.show("c")), (0, 0));
    assert_eq!(at_once(&mut watches), None);
}

#[tokio::test]
async fn a_camera_that_is_removed_is_told_and_the_others_go_on() {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    cameras.replace(&mut watches, &[("a", None), ("b", None)]);

    cameras.0.remove(&id("a"));
    cameras.show("b");

    assert_eq!(all(&mut watches), [picture("a", 0), picture("b", 1)]);
}

/// When pictures went, with a camera of 1,000 a second whose every picture is acknowledged at once.
async fn pace(max_fps: f64, pictures: usize) -> Vec<Duration> {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    cameras.replace(&mut watches, &[("a", Some(max_fps))]);
    let begun = Instant::now();
    let mut sent = Vec::new();
    while sent.len() < pictures {
        cameras.show("a");
        while let Some((_, seq)) = at_once(&mut watches) {
            watches.shown(&id("a"), seq);
            sent.push(begun.elapsed());
        }
        advance(Duration::from_millis(1)).await;
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn a_client_gets_its_own_maximum_rate_steadily() {
    let sent = pace(30.0, 31).await;

    // A second for thirty, though a thirtieth of a second is no whole number of milliseconds.
    assert_eq!((sent[0], sent[30]), (Duration::ZERO, Duration::from_secs(1)));
    assert!(sent.windows(2).all(|two| (33..=34).contains(&(two[1] - two[0]).as_millis())), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_slow_rate_ends_by_itself() {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    cameras.replace(&mut watches, &[("a", Some(0.5)), ("b", Some(0.1))]);
    cameras.show("a");
    assert_eq!(all(&mut watches), [picture("a", 1)]);
    cameras.show("a");
    cameras.show("a");
    assert_eq!(at_once(&mut watches), None);
    let begun = Instant::now();

    let Next::Picture(_, shown) = watches.next().await else { panic!("nothing was removed") };

    assert_eq!((shown.seq, begun.elapsed().as_secs()), (3, 2));
    // A higher rate holds from the next picture on.
    watches.shown(&id("a"), 3);
    cameras.show("a");
    cameras.replace(&mut watches, &[("a", None)]);
    assert_eq!(at_once(&mut watches), Some(picture("a", 4)));
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_pictures_do_not_come_in_a_burst() {
    let (cameras, mut watches) = (Cameras::new(), WatchedCameras::new());
    cameras.replace(&mut watches, &[("a", Some(10.0))]);
    advance(Duration::from_secs(60)).await;
    let begun = Instant::now();
    let mut sent = Vec::new();

    while begun.elapsed() < Duration::from_secs(1) {
        cameras.show("a");
        for (_, seq) in all(&mut watches) {
            watches.shown(&id("a"), seq);
            sent.push(begun.elapsed());
        }
        advance(Duration::from_millis(10)).await;
    }

    assert!((10..=11).contains(&sent.len()), "{sent:?}");
    assert!(sent.windows(2).all(|two| two[1] - two[0] >= Duration::from_millis(50)), "{sent:?}");
}

proptest! {
    #[test]
    fn any_rate_is_a_time_between_pictures(max_fps in prop_oneof![0.0..60.0_f64, Just(f64::MIN_POSITIVE), Just(60.0)]) {
        prop_assume!(max_fps > 0.0);

        prop_assert!((Duration::from_millis(16)..=SLOWEST).contains(&interval(max_fps)));
    }
}
