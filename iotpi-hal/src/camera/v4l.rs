//! V4L2 cameras: USB cameras, and Pi cameras whose driver offers JPEG or YUYV.
//!
//! A camera that sends JPEG is passed through untouched; one that sends YUYV is encoded. The camera runs on a
//! thread of its own and only the newest frame is kept: who comes late sees what is now.
//!
//! # Troubleshooting
//! | error | what to look at |
//! |---|---|
//! | `not found` | `v4l2-ctl --list-devices`; a Pi camera module under libcamera has no JPEG or YUYV here |
//! | `permission denied` | the user must be in group `video` |
//! | `bus: ... is in use` | another program has the camera open |
//!
//! # Deliberately absent
//! Controls (exposure, focus): `v4l2-ctl` sets them. H.264.

use std::{fmt, path::Path, sync::Arc, thread};

use bytes::Bytes;
use iotpi_core::{Camera, CameraSpec, Clock, DeviceError, DeviceErrorKind, Frame, async_trait};
use nokhwa::{
    Camera as Device, NokhwaError,
    utils::{CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType, Resolution},
};
use tokio::sync::watch;

use super::yuyv;

/// What a camera may send.
const SPOKEN: [FrameFormat; 2] = [FrameFormat::MJPEG, FrameFormat::YUYV];

/// What the thread says last: the newest frame, or why it ended.
type Newest = Option<Result<Frame, Arc<DeviceError>>>;

/// The camera.
pub struct V4l {
    wish: Wish,
    spec: CameraSpec,
    clock: Arc<dyn Clock>,
    /// Absent after a failure: the next capture opens the camera anew.
    newest: Option<watch::Receiver<Newest>>,
}

/// What the settings ask for.
#[derive(Debug, Clone)]
struct Wish {
    path: String,
    index: u32,
    format: CameraFormat,
}

impl fmt::Debug for V4l {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("V4l")
            .field("device", &self.wish.path)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

impl V4l {
    /// Opens `/dev/videoN` at the camera's nearest to a size in pixels and a rate in frames a second.
    ///
    /// Blocks for as long as the camera takes to answer, some tenths of a second.
    ///
    /// # Errors
    /// [`DeviceErrorKind::NotFound`] without such a camera, [`DeviceErrorKind::PermissionDenied`] outside
    /// group `video`, [`DeviceErrorKind::Bus`] when another program has it, [`DeviceErrorKind::Other`] when
    /// it offers neither JPEG nor YUYV.
    pub fn open(
        path: &Path,
        width: u32,
        height: u32,
        fps: u32,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DeviceError> {
        let text = path.display().to_string();
        let index =
            text.strip_prefix("/dev/video").and_then(|number| number.parse().ok()).ok_or_else(|| {
                DeviceError::new(
                    DeviceErrorKind::NotFound,
                    format!("{text} is no camera: it should look like /dev/video0"),
                )
            })?;
        let format = CameraFormat::new(Resolution::new(width, height), FrameFormat::MJPEG, fps);
        let wish = Wish { path: text, index, format };
        let (spec, newest) = start(&wish, Arc::clone(&clock))?;
        Ok(Self { wish, spec, clock, newest: Some(newest) })
    }

    async fn reopen(&self) -> Result<watch::Receiver<Newest>, DeviceError> {
        let (wish, clock) = (self.wish.clone(), Arc::clone(&self.clock));
        let started = tokio::task::spawn_blocking(move || start(&wish, clock)).await;
        let panicked =
            |e| DeviceError::new(DeviceErrorKind::Other, "opening the camera panicked").with_source(e);
        Ok(started.map_err(panicked)??.1)
    }
}

#[async_trait]
impl Camera for V4l {
    fn spec(&self) -> CameraSpec {
        self.spec
    }

    async fn capture(&mut self) -> Result<Frame, DeviceError> {
        let mut newest = match self.newest.take() {
            Some(newest) => newest,
            None => self.reopen().await?,
        };
        // Put back before waiting, so that a cancelled capture keeps the camera open.
        let changed = self.newest.insert(newest.clone()).changed().await;
        let frame = newest.borrow_and_update().clone();
        match (changed, frame) {
            (Ok(()), Some(Ok(frame))) => Ok(frame),
            (_, Some(Err(error))) => {
                self.newest = None;
                Err(DeviceError::new(error.kind(), "the camera failed").with_source(error))
            }
            (Err(_), _) | (_, None) => {
                self.newest = None;
                Err(DeviceError::new(DeviceErrorKind::NotFound, "the camera went away"))
            }
        }
    }
}

/// Opens the camera on a thread and waits until it has said what it delivers.
fn start(wish: &Wish, clock: Arc<dyn Clock>) -> Result<(CameraSpec, watch::Receiver<Newest>), DeviceError> {
    let (frames, newest) = watch::channel(None);
    let (opened, answer) = std::sync::mpsc::sync_channel(1);
    let wish = wish.clone();
    // The device is not Send, so it is opened where it runs. The thread ends with the last receiver, or with
    // the camera.
    thread::spawn(move || match open_device(&wish) {
        Ok(device) => {
            let format = device.camera_format();
            let spec = CameraSpec {
                width: format.width(),
                height: format.height(),
                fps: format.frame_rate().into(),
            };
            if opened.send(Ok(spec)).is_ok() {
                run(device, &wish, &*clock, &frames);
            }
        }
        // The one who asked waits for the answer.
        Err(error) => drop(opened.send(Err(error))),
    });
    let spec = answer
        .recv()
        .map_err(|_| DeviceError::new(DeviceErrorKind::Other, "opening the camera panicked"))??;
    Ok((spec, newest))
}

fn open_device(wish: &Wish) -> Result<Device, DeviceError> {
    let failed = |e| camera_error(wish, e);
    let request = RequestedFormat::with_formats(RequestedFormatType::None, &SPOKEN);
    let mut device = Device::new(CameraIndex::Index(wish.index), request).map_err(failed)?;
    let offered = device.compatible_camera_formats().map_err(failed)?;
    if let Some(format) = nearest(&offered, wish.format) {
        let exactly = RequestedFormat::with_formats(RequestedFormatType::Exact(format), &SPOKEN);
        device.set_camera_requset(exactly).map_err(failed)?;
    }
    device.open_stream().map_err(failed)?;
    Ok(device)
}

/// What is nearest in size, then speaks JPEG, then is nearest in rate. nokhwa's own choice knows exact sizes
/// only.
fn nearest(offered: &[CameraFormat], wish: CameraFormat) -> Option<CameraFormat> {
    let spoken = offered.iter().filter(|format| SPOKEN.contains(&format.format()));
    spoken.copied().min_by_key(|format| {
        let size = format.width().abs_diff(wish.width()) + format.height().abs_diff(wish.height());
        let rate = format.frame_rate().abs_diff(wish.frame_rate());
        (size, format.format() != FrameFormat::MJPEG, rate)
    })
}

fn run(mut device: Device, wish: &Wish, clock: &dyn Clock, frames: &watch::Sender<Newest>) {
    let format = device.camera_format();
    while !frames.is_closed() {
        let frame = device
            .frame_raw()
            .map_err(|e| camera_error(wish, e))
            .and_then(|raw| to_frame(&raw, format, clock));
        let failed = frame.is_err();
        frames.send_replace(Some(frame.map_err(Arc::new)));
        if failed {
            return;
        }
    }
}

/// A camera's JPEG is copied out of the kernel's buffer and no more; YUYV is encoded.
fn to_frame(raw: &[u8], format: CameraFormat, clock: &dyn Clock) -> Result<Frame, DeviceError> {
    let taken_at = clock.now();
    let broken = |e: Box<dyn std::error::Error + Send + Sync>| {
        DeviceError::new(DeviceErrorKind::Other, "the camera sent no picture").with_source(e)
    };
    let jpeg = match format.format() {
        FrameFormat::MJPEG => Bytes::copy_from_slice(raw),
        _ => {
            let side = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX);
            yuyv::encode(raw, side(format.width()), side(format.height()))
                .ok_or_else(|| broken("too few bytes".into()))?
                .map_err(|e| broken(Box::new(e)))?
                .into()
        }
    };
    Frame::from_jpeg(jpeg, taken_at).map_err(|e| broken(Box::new(e)))
}

/// nokhwa keeps the system's error as text only.
fn camera_error(wish: &Wish, error: NokhwaError) -> DeviceError {
    let path = &wish.path;
    let text = error.to_string();
    let says = |words: &str| text.contains(words);
    let (kind, message) = if says("os error 2)") || says("os error 19)") || says("os error 6)") {
        (
            DeviceErrorKind::NotFound,
            format!("{path} is not there: `v4l2-ctl --list-devices` lists the cameras"),
        )
    } else if says("os error 13)") || says("os error 1)") {
        (DeviceErrorKind::PermissionDenied, format!("{path} may not be used: add the user to group video"))
    } else if says("os error 16)") {
        (DeviceErrorKind::Bus, format!("{path} is in use by another program"))
    } else {
        (DeviceErrorKind::Other, format!("{path} offers no JPEG or YUYV picture, or failed"))
    };
    DeviceError::new(kind, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use iotpi_core::{ManualClock, Timestamp};

    use super::*;
    use crate::camera::testcard::TestCard;

    #[test]
    fn a_camera_that_is_not_there_is_not_found() {
        let error =
            V4l::open(Path::new("/dev/video250"), 640, 480, 15, ManualClock::at(Timestamp::MIN)).unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound, "{error:?}");
    }

    #[test]
    fn of_what_a_camera_offers_the_nearest_is_taken() {
        let format = |w, h, format, fps| CameraFormat::new(Resolution::new(w, h), format, fps);
        let offered = [
            format(1920, 1080, FrameFormat::MJPEG, 30),
            format(640, 360, FrameFormat::YUYV, 15),
            format(640, 360, FrameFormat::MJPEG, 30),
            format(640, 360, FrameFormat::MJPEG, 10),
            format(640, 480, FrameFormat::GRAY, 15),
        ];

        let taken = nearest(&offered, format(640, 480, FrameFormat::MJPEG, 15));

        assert_eq!(taken, Some(format(640, 360, FrameFormat::MJPEG, 10)));
        assert_eq!(nearest(&offered[4..], offered[0]), None);
    }

    #[test]
    fn jpeg_of_the_camera_is_passed_through_untouched() {
        let clock = ManualClock::at(Timestamp::MIN);
        let spec = CameraSpec { width: 160, height: 120, fps: 1.0 };
        let jpeg = TestCard::new(spec, clock.clone()).unwrap().paint(Timestamp::MIN).unwrap().jpeg().clone();
        let format = CameraFormat::new(Resolution::new(160, 120), FrameFormat::MJPEG, 15);

        let frame = to_frame(&jpeg, format, &*clock).unwrap();

        assert_eq!(frame.jpeg(), &jpeg);
        assert_eq!(to_frame(&jpeg[..50], format, &*clock).unwrap_err().kind(), DeviceErrorKind::Other);
    }
}
