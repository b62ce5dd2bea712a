use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use iotpi_core::{
    Camera, CameraModule, CameraSpec, DeviceError, DeviceErrorKind, ErrorKind, Frame, RunError, Runner,
    Timestamp, async_trait, testing::RecordingUplink,
};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{hub, problem};

/// Ten pictures a second, each wider by one; the second one fails. It counts how often it was asked.
#[derive(Clone, Default)]
struct Flipbook(Arc<AtomicU16>);

fn picture(width: u16) -> Frame {
    let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 1];
    jpeg.extend(width.to_be_bytes());
    jpeg.extend([0xFF, 0xD9]);
    Frame::from_jpeg(Bytes::from(jpeg), Timestamp::MIN).unwrap()
}

#[async_trait]
impl Camera for Flipbook {
    fn spec(&self) -> CameraSpec {
        CameraSpec { width: 1, height: 1, fps: 10.0 }
    }

    async fn capture(&mut self) -> Result<Frame, DeviceError> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let asked = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        if asked == 2 { Err(DeviceErrorKind::NotFound.into()) } else { Ok(picture(asked)) }
    }
}

fn run(
    hub: &RecordingUplink,
    camera: &Flipbook,
    stop: &CancellationToken,
) -> JoinHandle<Result<(), RunError>> {
    tokio::spawn(Runner::new(hub.clone()).run_until(CameraModule::new(camera.clone()), stop.clone()))
}

#[tokio::test(start_paused = true)]
async fn pictures_go_on_after_the_camera_and_the_hub_failed_and_none_is_queued() {
    let (hub, stop) = (hub(), CancellationToken::new());
    hub.set_viewers(1);
    hub.fail_next(problem(ErrorKind::Unavailable));

    let running = run(&hub, &Flipbook::default(), &stop);
    hub.until(|hub| hub.frames().len() == 5).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    let widths: Vec<_> = hub.frames().iter().map(Frame::width).collect();
    assert!(!widths.contains(&2), "{widths:?}");
    assert!(widths.windows(2).all(|pair| pair[0] < pair[1]), "{widths:?}");
    assert_eq!(hub.manifests()[0].camera.unwrap().fps, 10.0);
}

#[tokio::test(start_paused = true)]
async fn while_nobody_watches_the_camera_is_asked_once_a_second() {
    let (hub, stop, camera) = (hub(), CancellationToken::new(), Flipbook::default());
    let running = run(&hub, &camera, &stop);
    hub.until(|hub| hub.frames().len() == 2).await;
    let begun = Instant::now();

    hub.until(|hub| hub.frames().len() == 12).await;

    // A second after each picture the camera is asked, and it takes 100 ms.
    assert_eq!(begun.elapsed().as_millis() / 100, 110);
    assert_eq!(camera.0.load(Ordering::SeqCst), 13);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_viewer_has_a_picture_within_a_frame_and_then_all_of_them() {
    let (hub, stop) = (hub(), CancellationToken::new());
    let running = run(&hub, &Flipbook::default(), &stop);
    hub.until(|hub| hub.frames().len() == 3).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    let before = hub.frames().len();

    let begun = Instant::now();
    hub.set_viewers(1);
    hub.until(|hub| hub.frames().len() == before + 1).await;
    let first = begun.elapsed();
    hub.until(|hub| hub.frames().len() == before + 10).await;
    let tenth = begun.elapsed();
    hub.set_viewers(0);
    hub.until(|hub| hub.frames().len() == before + 12).await;
    let idle = begun.elapsed() - tenth;

    let numbers: Vec<_> = hub.frames().iter().map(|frame| frame.sequence().unwrap()).collect();
    assert!(first <= Duration::from_millis(101), "{first:?}");
    assert!(tenth <= Duration::from_millis(1010), "{tenth:?}");
    assert!(idle > Duration::from_secs(1), "{idle:?}");
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_is_away_holds_up_no_camera_and_gets_the_newest_picture_when_it_is_back() {
    let (hub, stop, camera) = (hub(), CancellationToken::new(), Flipbook::default());
    hub.set_viewers(1);
    let running = run(&hub, &camera, &stop);
    hub.until(|hub| hub.frames().len() == 20).await;

    hub.set_away(true);
    let at = camera.0.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let asked = camera.0.load(Ordering::SeqCst);
    hub.set_away(false);
    hub.until(|hub| hub.frames().len() == 22).await;

    // Nobody is known to watch, so it was asked once a second, and only what was newest arrived.
    assert!((50..=62).contains(&(asked - at)), "{at} {asked}");
    let widths: Vec<_> = hub.frames().iter().map(Frame::width).collect();
    assert!(widths[20] + 1 >= u32::from(asked), "{widths:?} {asked}");
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn once_shows_one_picture() {
    let hub = hub();

    Runner::new(hub.clone()).once(CameraModule::new(Flipbook::default())).await.unwrap();

    assert_eq!(hub.frames().len(), 1);
}
