use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use iotpi_core::{
    Camera, CameraModule, CameraSpec, DeviceError, DeviceErrorKind, Frame, Runner, Timestamp, async_trait,
    model::error::ErrorKind, module::RunError, testing::RecordingUplink,
};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{hub, problem};

/// A camera with ten frames per second, each wider by one pixel. The second capture fails. It counts the
/// captures.
#[derive(Clone, Default)]
struct CountingCamera(Arc<AtomicU16>);

fn frame(width: u16) -> Frame {
    let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 1];
    jpeg.extend(width.to_be_bytes());
    jpeg.extend([0xFF, 0xD9]);
    Frame::from_jpeg(Bytes::from(jpeg), Timestamp::MIN).unwrap()
}

#[async_trait]
impl Camera for CountingCamera {
    fn spec(&self) -> CameraSpec {
        CameraSpec::new(1, 1, 10.0)
    }

    async fn capture(&mut self) -> Result<Frame, DeviceError> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let captures = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        if captures == 2 { Err(DeviceErrorKind::NotFound.into()) } else { Ok(frame(captures)) }
    }
}

fn run(
    hub: &RecordingUplink,
    camera: &CountingCamera,
    stop: &CancellationToken,
) -> JoinHandle<Result<(), RunError>> {
    tokio::spawn(Runner::new(hub.clone()).run_until(CameraModule::new(camera.clone()), stop.clone()))
}

#[tokio::test(start_paused = true)]
async fn frames_continue_after_the_camera_or_the_hub_failed_and_none_is_queued() {
    let (hub, stop) = (hub(), CancellationToken::new());
    hub.set_viewers(1);
    hub.fail_next(problem(ErrorKind::Unavailable));

    let running = run(&hub, &CountingCamera::default(), &stop);
    hub.until(|hub| hub.frames().len() == 5).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    let widths: Vec<_> = hub.frames().iter().map(Frame::width).collect();
    assert!(!widths.contains(&2), "{widths:?}");
    assert!(widths.windows(2).all(|pair| pair[0] < pair[1]), "{widths:?}");
    assert_eq!(hub.manifests()[0].camera.unwrap().fps, 10.0);
}

#[tokio::test(start_paused = true)]
async fn without_viewers_there_is_one_capture_per_second() {
    let (hub, stop, camera) = (hub(), CancellationToken::new(), CountingCamera::default());
    let running = run(&hub, &camera, &stop);
    hub.until(|hub| hub.frames().len() == 2).await;
    let started = Instant::now();

    hub.until(|hub| hub.frames().len() == 12).await;

    // A capture starts a second after the previous frame and takes 100 ms.
    assert_eq!(started.elapsed().as_millis() / 100, 110);
    assert_eq!(camera.0.load(Ordering::SeqCst), 13);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_viewer_gets_a_frame_within_one_interval_and_then_every_frame() {
    let (hub, stop) = (hub(), CancellationToken::new());
    let running = run(&hub, &CountingCamera::default(), &stop);
    hub.until(|hub| hub.frames().len() == 3).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    let before = hub.frames().len();

    let started = Instant::now();
    hub.set_viewers(1);
    hub.until(|hub| hub.frames().len() == before + 1).await;
    let first = started.elapsed();
    hub.until(|hub| hub.frames().len() == before + 10).await;
    let tenth = started.elapsed();
    hub.set_viewers(0);
    hub.until(|hub| hub.frames().len() == before + 12).await;
    let idle = started.elapsed() - tenth;

    let numbers: Vec<_> = hub.frames().iter().map(|frame| frame.sequence().unwrap()).collect();
    assert!(first <= Duration::from_millis(101), "{first:?}");
    assert!(tenth <= Duration::from_millis(1010), "{tenth:?}");
    assert!(idle > Duration::from_secs(1), "{idle:?}");
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_hub_does_not_block_the_camera_and_ends_with_the_newest_frame() {
    let (hub, stop, camera) = (hub(), CancellationToken::new(), CountingCamera::default());
    hub.set_viewers(1);
    let running = run(&hub, &camera, &stop);
    hub.until(|hub| hub.frames().len() == 20).await;

    hub.set_away(true);
    let before = camera.0.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let captures = camera.0.load(Ordering::SeqCst);
    hub.set_away(false);
    hub.until(|hub| hub.frames().len() == 22).await;

    // Without known viewers there is one capture per second, and only the newest frame arrived.
    assert!((50..=62).contains(&(captures - before)), "{before} {captures}");
    let widths: Vec<_> = hub.frames().iter().map(Frame::width).collect();
    assert!(widths[20] + 1 >= u32::from(captures), "{widths:?} {captures}");
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn once_publishes_one_frame() {
    let hub = hub();

    Runner::new(hub.clone()).once(CameraModule::new(CountingCamera::default())).await.unwrap();

    assert_eq!(hub.frames().len(), 1);
}
