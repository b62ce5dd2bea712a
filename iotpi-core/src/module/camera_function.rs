//! Cameras defined by functions.

use std::{fmt, pin::Pin, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    any_error::AnyError,
    device::{Camera, DeviceError, DeviceErrorKind},
    model::{frame::Frame, manifest::CameraSpec},
    time::{Clock, SystemClock},
};

/// A [`Camera`] defined by a function: see [`camera`].
pub struct CameraFunction<S> {
    spec: CameraSpec,
    frames: Pin<Box<S>>,
}

impl<S> fmt::Debug for CameraFunction<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CameraFunction").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// Creates a [`Camera`] from an `async` closure that captures one JPEG image. The closure may own its device.
/// It is called at most `spec.fps` times a second. After a capture that took longer the next one follows at
/// once, and then the pace is regular again; there is no burst.
///
/// ```
/// use iotpi_core::{CameraModule, CameraSpec, camera};
///
/// let spec = CameraSpec::new(640, 480, 5.0);
/// let module = CameraModule::new(camera(spec, async || Ok(tokio::fs::read("/run/camera/newest.jpg").await?)));
/// ```
///
/// The time of a frame is the time at which the closure returned it.
///
/// # Cancel safety
/// A cancelled capture is continued by the next one.
pub fn camera<J, F>(
    spec: CameraSpec,
    function: F,
) -> CameraFunction<impl Stream<Item = Result<Frame, DeviceError>>>
where
    J: Into<Bytes>,
    F: AsyncFnMut() -> Result<J, AnyError>,
{
    // An invalid rate is refused by the hub.
    let period = Duration::try_from_secs_f64(spec.fps.recip()).unwrap_or(Duration::from_secs(1));
    let period = period.max(Duration::from_millis(1));
    let frames =
        stream::unfold((function, None, SystemClock::new()), move |(mut function, pace, clock)| async move {
            let mut pace = pace.unwrap_or_else(|| {
                let mut pace = interval(period);
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                pace
            });
            pace.tick().await;
            let frame = match function().await {
                Ok(jpeg) => Frame::from_jpeg(jpeg.into(), clock.now())
                    .map_err(|error| DeviceError::new(DeviceErrorKind::Other, error.to_string())),
                Err(error) => Err(error.into()),
            };
            Some((frame, (function, Some(pace), clock)))
        });
    CameraFunction { spec, frames: Box::pin(frames) }
}

#[async_trait]
impl<S> Camera for CameraFunction<S>
where
    S: Stream<Item = Result<Frame, DeviceError>> + Send,
{
    fn spec(&self) -> CameraSpec {
        self.spec
    }

    async fn capture(&mut self) -> Result<Frame, DeviceError> {
        match self.frames.next().await {
            Some(frame) => frame,
            // The stream never ends.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const JPEG: [u8; 13] = [0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 1, 0, 1, 0xFF, 0xD9];
    const SPEC: CameraSpec = CameraSpec { width: 1, height: 1, fps: 10.0 };

    #[tokio::test(start_paused = true)]
    async fn the_pace_is_regular_and_a_stall_is_not_made_up_for() {
        let mut captures = 0;
        let mut camera = camera(SPEC, async move || {
            captures += 1;
            if captures == 2 {
                sleep(Duration::from_millis(550)).await;
            }
            Ok(JPEG.to_vec())
        });
        let start = Instant::now();
        let mut at = Vec::new();

        for _ in 0..5 {
            camera.capture().await.unwrap();
            at.push(start.elapsed().as_millis());
        }

        assert_eq!(at, [0, 650, 650, 750, 850]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_that_is_no_jpeg_is_an_error_of_the_device() {
        let mut camera = camera(SPEC, async || Ok(b"GIF89a".to_vec()));

        assert_eq!(camera.capture().await.unwrap_err().kind(), DeviceErrorKind::Other);
    }
}
