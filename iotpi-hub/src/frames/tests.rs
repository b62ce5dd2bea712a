use super::*;

fn jpeg() -> Frame {
    let jpeg: &[u8] = &[
        0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1, 0xFF, 0xDA, 0,
        2, 0xFF, 0xD9,
    ];
    Frame::from_jpeg(jpeg.into(), at(Duration::ZERO).wall).unwrap()
}

fn frames() -> Arc<Frames> {
    Arc::new(Frames::new(2, Duration::from_secs(5), Arc::default()))
}

fn id(text: &str) -> ModuleId {
    ModuleId::new(text).unwrap()
}

/// A time on a hub that started at noon.
fn at(uptime: Duration) -> Moment {
    Moment { wall: Timestamp::parse("2026-06-01T12:00:00Z").unwrap().plus(uptime), uptime }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn show(frames: &Frames, camera: &str, uptime: Duration) -> PublishOutcome {
    frames.publish(&id(camera), jpeg(), at(uptime)).unwrap()
}

fn watch(frames: &Arc<Frames>, camera: &str, uptime: Duration) -> Viewer {
    frames.watch(&id(camera), ViewerKind::Mjpeg, at(uptime))
}

#[tokio::test]
async fn a_slow_viewer_gets_the_newest_frame_and_its_skips_are_counted() {
    let frames = frames();
    let mut viewer = watch(&frames, "a", ms(0));
    for i in 1..=5 {
        assert_eq!(show(&frames, "a", ms(100 * i)).receipt, FrameReceipt::new(1, i));
    }
    assert_eq!(viewer.next().await.unwrap().seq, 5);
    for i in 6..=9 {
        show(&frames, "a", ms(100 * i));
    }
    // Before it takes the newest frame, too.
    assert_eq!(frames.watched(&id("a"), at(ms(900))).unwrap().watching[0].skipped, 3);

    assert_eq!(viewer.next().await.unwrap().seq, 9);

    let camera = frames.watched(&id("a"), at(ms(900))).unwrap();
    let info = &camera.camera;
    assert_eq!((info.frames, info.skipped, info.delivered, info.viewers, info.fps), (9, 3, 2, 1, 10.0));
    let watching = &camera.watching[0];
    assert_eq!((watching.via, watching.delivered, watching.skipped), (ViewerKind::Mjpeg, 2, 3));
    assert_eq!(watching.since, at(ms(0)).wall);
    drop(viewer);
    let camera = frames.watched(&id("a"), at(ms(60_000))).unwrap();
    assert_eq!((camera.camera.fps, camera.camera.viewers, camera.watching.len()), (0.0, 0, 0));
    assert_eq!((camera.camera.skipped, camera.camera.delivered), (3, 2));
}

#[tokio::test]
async fn viewers_of_a_camera_share_the_bytes() {
    let frames = frames();
    show(&frames, "a", ms(0));
    let (mut one, mut two) = (watch(&frames, "a", ms(0)), watch(&frames, "a", ms(0)));

    let (one, two) = (one.next().await.unwrap(), two.next().await.unwrap());

    assert_eq!(one.frame.jpeg().as_ptr(), two.frame.jpeg().as_ptr());
}

#[test]
fn a_camera_is_announced_at_most_once_a_second() {
    let frames = frames();

    let announced: Vec<bool> =
        [0, 400, 999, 1000, 1500, 2100].map(|at| show(&frames, "a", ms(at)).announce).into();

    assert_eq!(announced, [true, false, false, true, false, true]);
}

#[test]
fn numbers_that_never_came_are_counted_and_a_camera_that_begins_anew_misses_none() {
    let frames = frames();
    let numbered = |number: u64| frames.publish(&id("a"), jpeg().numbered(number), at(ms(0))).unwrap();

    for number in [7, 8, 11, 12, 1, 2, u64::MAX] {
        numbered(number);
    }
    frames.refused(&id("a"));

    let info = frames.info(&id("a"), at(ms(0))).unwrap();
    assert_eq!((info.frames, info.missing, info.refused), (7, 2, 1));
}

#[test]
fn a_frame_was_captured_by_the_hubs_clock_and_not_after_it_came() {
    let frames = frames();
    let captured = |offset: f64| {
        frames.publish(&id("a"), jpeg().with_clock_offset(offset), at(ms(1000))).unwrap();
        frames.newest(&id("a")).unwrap().captured_at
    };

    assert_eq!(captured(0.25), at(ms(250)).wall);
    assert_eq!(captured(3600.0), at(ms(1000)).wall);
    assert_eq!(captured(-1e12), Timestamp::MIN);
}

#[tokio::test]
async fn a_lost_camera_shows_a_no_signal_frame_once_a_second_until_its_next_frame() {
    let frames = frames();
    show(&frames, "a", ms(0));
    let mut viewer = watch(&frames, "a", ms(0));
    viewer.next().await.unwrap();

    assert_eq!(frames.publish_lost(at(ms(4_999))), [id("a")]);
    assert!(frames.info(&id("a"), at(ms(4_999))).unwrap().online);
    assert_eq!(frames.publish_lost(at(ms(5_000))), [id("a")]);
    let first = viewer.next().await.unwrap();
    assert_eq!(frames.publish_lost(at(ms(6_000))), []);
    let second = viewer.next().await.unwrap();

    assert!(first.no_signal && second.no_signal && second.seq > first.seq);
    assert_eq!(first.frame.jpeg().as_ptr(), second.frame.jpeg().as_ptr());
    let info = frames.info(&id("a"), at(ms(6_000))).unwrap();
    assert_eq!((info.online, info.frames, info.width), (false, 1, 8));
    assert!(!frames.newest(&id("a")).unwrap().no_signal);
    show(&frames, "a", ms(7_000));
    assert!(!viewer.next().await.unwrap().no_signal);
    assert_eq!(frames.publish_lost(at(ms(7_001))), [id("a")]);
    assert!(frames.info(&id("a"), at(ms(7_001))).unwrap().online);
}

#[tokio::test]
async fn a_new_viewer_of_a_lost_camera_gets_a_no_signal_frame_at_once() {
    let frames = frames();
    show(&frames, "a", ms(0));
    frames.publish_lost(at(ms(60_000)));

    let mut viewer = watch(&frames, "a", ms(60_500));

    assert!(viewer.next().await.unwrap().no_signal);
    let mut early = watch(&frames, "b", ms(60_500));
    frames.publish_lost(at(ms(65_500)));
    assert!(early.next().await.unwrap().no_signal);
}

#[tokio::test]
async fn a_camera_without_frames_leaves_no_state_and_removing_a_camera_ends_its_viewers() {
    let frames = frames();
    drop(watch(&frames, "never", ms(0)));
    assert!(lock(&frames.slots).is_empty());
    show(&frames, "a", ms(0));
    let mut viewer = watch(&frames, "a", ms(0));
    viewer.next().await.unwrap();
    let mut waiting = watch(&frames, "b", ms(0));

    frames.remove(&id("a"));
    frames.remove(&id("b"));

    assert!(viewer.next().await.is_none());
    assert!(waiting.next().await.is_none());
    show(&frames, "b", ms(0));
    show(&frames, "c", ms(0));
}

#[tokio::test]
async fn places_are_for_cameras_that_deliver_and_not_for_those_that_are_waited_for() {
    let frames = frames();
    let waiting: Vec<_> = (0..64).map(|i| watch(&frames, &format!("none-{i}"), ms(0))).collect();
    let mut early = watch(&frames, "a", ms(0));

    show(&frames, "a", ms(0));
    show(&frames, "b", ms(0));

    assert!(!early.next().await.unwrap().no_signal);
    let jpeg = frames.newest(&id("a")).unwrap().frame.clone();
    assert!(frames.publish(&id("none-1"), jpeg.clone(), at(ms(0))).is_err(), "two places are taken");
    frames.remove(&id("a"));
    assert!(frames.publish(&id("none-1"), jpeg, at(ms(0))).is_ok());
    drop((waiting, early));
    assert_eq!(lock(&frames.slots).len(), 2, "who was only waited for left nothing behind");
}

#[tokio::test]
async fn who_pushes_hears_of_the_first_viewer() {
    let frames = frames();
    let slot = frames.slot(&id("a"), at(ms(0)));
    let mut viewers = slot.watch_demand();
    assert_eq!(*viewers.borrow_and_update(), 0);

    let viewer = watch(&frames, "a", ms(0));

    viewers.changed().await.unwrap();
    assert_eq!(*viewers.borrow_and_update(), 1);
    drop(viewer);
    viewers.changed().await.unwrap();
    assert_eq!(*viewers.borrow_and_update(), 0);
}

#[test]
fn of_very_many_viewers_all_are_counted_and_256_are_named() {
    let frames = frames();
    show(&frames, "a", ms(0));
    let _viewers: Vec<_> = (0..300).map(|_| watch(&frames, "a", ms(0))).collect();

    let camera = frames.watched(&id("a"), at(ms(0))).unwrap();

    assert_eq!((camera.camera.viewers, camera.watching.len()), (300, 256));
}

#[test]
fn the_newest_frames_of_all_cameras_fit_into_a_stated_memory() {
    let frames = Frames::new(64, Duration::from_secs(5), Arc::default());
    let small_jpeg = jpeg();
    let mut jpeg = small_jpeg.jpeg().to_vec();
    let remove = jpeg.len() - 2;
    jpeg.splice(remove..remove, std::iter::repeat_n(0x55, 8_000_000));
    let large = Frame::from_jpeg(jpeg.into(), at(ms(0)).wall).unwrap();
    let published =
        (0..64).filter(|n| frames.publish(&id(&format!("c{n}")), large.clone(), at(ms(0))).is_ok());
    assert_eq!(published.count(), MAX_NEWEST_BYTES / 8_000_000);

    let again = frames.publish(&id("c0"), large, at(ms(1)));
    let small = frames.publish(&id("c63"), small_jpeg, at(ms(1)));

    assert!(again.is_ok() && small.is_ok());
}
