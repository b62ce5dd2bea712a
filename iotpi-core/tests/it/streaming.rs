use std::time::Duration;

use bytes::Bytes;
use iotpi_core::{
    Camera, CameraSpec, DeviceError, DeviceErrorKind, ErrorKind, Frame, Runner, Streaming, Timestamp,
    async_trait,
};
use tokio_util::sync::CancellationToken;

use crate::{hub, problem};

/// Ten pictures a second; the second one fails.
struct Flipbook(u16);

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
        self.0 += 1;
        if self.0 == 2 { Err(DeviceErrorKind::NotFound.into()) } else { Ok(picture(self.0)) }
    }
}

#[tokio::test(start_paused = true)]
async fn pictures_go_on_after_the_camera_and_the_hub_failed_and_none_is_queued() {
    let (hub, stop) = (hub(), CancellationToken::new());
    hub.fail_next(problem(ErrorKind::Unavailable));

    let running = tokio::spawn(Runner::new(hub.clone()).run_until(Streaming::new(Flipbook(0)), stop.clone()));
    hub.until(|hub| hub.frames().len() == 5).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    let widths: Vec<_> = hub.frames().iter().map(Frame::width).collect();
    assert!(!widths.contains(&2), "{widths:?}");
    assert!(widths.windows(2).all(|pair| pair[0] < pair[1]), "{widths:?}");
    assert_eq!(hub.manifests()[0].camera.unwrap().fps, 10.0);
}

#[tokio::test(start_paused = true)]
async fn once_shows_one_picture() {
    let hub = hub();

    Runner::new(hub.clone()).once(Streaming::new(Flipbook(0))).await.unwrap();

    assert_eq!(hub.frames().len(), 1);
}
