//! The contract of cameras.

use std::time::Duration;

use iotpi_core::{
    Camera, Frame, Timestamp,
    model::frame::{MAX_FRAME_BYTES, MAX_FRAME_SIDE},
};
use tokio::time::Instant;

/// The number of frames for a check of the rate.
const FRAMES: u32 = 6;

/// Checks a camera against the contract of cameras:
///
/// 1. Its spec has a size and a rate that a hub accepts, and does not change.
/// 2. Each frame has the size of the spec, and at most [`MAX_FRAME_BYTES`].
/// 3. Frames are in order: none was taken before its predecessor.
/// 4. The camera sets the pace: frames arrive at most twice as fast as the spec states, so that a module does not
///    publish one frame over and over.
/// 5. After a cancelled capture it captures again.
///
/// In a test with tokio's paused time a simulated camera needs no time for this.
///
/// ```
/// use iotpi_core::{CameraSpec, SystemClock};
/// use iotpi_hal::{camera::testcard::TestCard, testing::check_camera};
///
/// # // In a test: #[tokio::test(start_paused = true)]
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let mut camera = TestCard::new(CameraSpec::new(160, 120, 50.0), SystemClock::shared()).unwrap();
/// check_camera(&mut camera).await;
/// # });
/// ```
///
/// # Panics
/// The camera breaks a rule; the message says which one.
pub async fn check_camera(camera: &mut (impl Camera + ?Sized)) {
    let spec = camera.spec();
    for side in [spec.width, spec.height] {
        assert!((1..=MAX_FRAME_SIDE).contains(&side), "the spec has a side of {side} pixels");
    }
    assert!(spec.fps > 0.0 && spec.fps <= 1000.0, "the spec has a rate of {} frames a second", spec.fps);

    let mut check = Check { camera, last: None };
    // The first frame of a camera may wait in its buffer.
    check.capture("at first").await;
    let started = Instant::now();
    for _ in 0..FRAMES {
        check.capture("in a row").await;
    }
    let shortest = Duration::from_secs_f64(f64::from(FRAMES) / spec.fps / 2.0);
    assert!(
        started.elapsed() >= shortest,
        "{FRAMES} frames arrived in {:?}, at a stated rate of {} a second",
        started.elapsed(),
        spec.fps
    );

    super::cancel(check.camera.capture()).await;
    check.capture("after a cancelled capture").await;
    assert!(check.camera.spec() == spec, "the spec changed from {spec:?} to {:?}", check.camera.spec());
}

struct Check<'a, C: ?Sized> {
    camera: &'a mut C,
    last: Option<Timestamp>,
}

impl<C: Camera + ?Sized> Check<'_, C> {
    async fn capture(&mut self, when: &str) {
        let frame = match self.camera.capture().await {
            Ok(frame) => frame,
            Err(error) => panic!("{when}, capture returned the error: {error}"),
        };
        let spec = self.camera.spec();
        let size = (frame.width(), frame.height());
        assert!(
            size == (spec.width, spec.height),
            "{when}, a frame has the size {size:?}, the spec {spec:?}"
        );
        assert!(frame.jpeg().len() <= MAX_FRAME_BYTES, "{when}, a frame has {} bytes", frame.jpeg().len());
        self.check_order(&frame, when);
    }

    fn check_order(&mut self, frame: &Frame, when: &str) {
        let taken_at = frame.taken_at();
        if let Some(last) = self.last {
            assert!(taken_at >= last, "{when}, a frame of {taken_at} followed one of {last}");
        }
        self.last = Some(taken_at);
    }
}

#[cfg(test)]
#[cfg(feature = "camera")]
mod tests {
    use iotpi_core::{CameraSpec, DeviceError, DeviceErrorKind, SystemClock, async_trait};

    use super::*;
    use crate::camera::testcard::TestCard;

    /// A test card with a flaw: the text of the message that the check must have, or none.
    struct Flawed(TestCard, &'static str, u32);

    impl Flawed {
        fn new(flaw: &'static str) -> Self {
            let spec = CameraSpec::new(160, 120, 10.0);
            Self(TestCard::new(spec, SystemClock::shared()).unwrap(), flaw, 0)
        }

        fn has(&self, flaw: &str) -> bool {
            self.1 == flaw
        }
    }

    #[async_trait]
    impl Camera for Flawed {
        fn spec(&self) -> CameraSpec {
            let mut spec = self.0.spec();
            if self.has("a rate of 0") {
                spec.fps = 0.0;
            }
            if self.has("the spec changed") && self.2 > FRAMES + 2 {
                spec.fps = 11.0;
            }
            if self.has("has the size") {
                spec.width = 320;
            }
            spec
        }

        async fn capture(&mut self) -> Result<Frame, DeviceError> {
            self.2 += 1;
            if self.has("the error: timeout") && self.2 > FRAMES + 1 {
                return Err(DeviceErrorKind::Timeout.into());
            }
            let now = Timestamp::parse("2026-06-01T12:00:00Z").unwrap();
            if self.has("frames arrived in") {
                return self.0.paint(now);
            }
            if self.has("followed one of") && self.2 == 3 {
                return self.0.paint(now.minus(Duration::from_secs(3600)));
            }
            self.0.capture().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_camera_passes() {
        check_camera(&mut Flawed::new("")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_message_for_a_broken_camera_names_the_rule() {
        for flaw in [
            "a rate of 0",
            "has the size",
            "frames arrived in",
            "followed one of",
            "the error: timeout",
            "the spec changed",
        ] {
            let checked = tokio::spawn(async move { check_camera(&mut Flawed::new(flaw)).await }).await;
            let message = *checked.unwrap_err().into_panic().downcast::<String>().unwrap();

            assert!(message.contains(flaw), "{flaw}: {message}");
        }
    }
}
