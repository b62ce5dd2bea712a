//! V4L2 cameras: USB cameras, and Pi cameras whose driver offers JPEG or YUYV.
//!
//! A camera that sends JPEG is passed through untouched; one that sends YUYV is encoded. The camera runs on a
//! thread of its own and only the newest frame is kept: who comes late sees what is now. A frame is stamped with the time the
//! kernel gives it, not when it was fetched. A camera that is unplugged, or gives no frame for some seconds, is an error; the
//! next capture opens it anew, with its controls.
//!
//! nokhwa waits for a frame without a time limit. The thread of a silent camera is therefore left behind, and keeps the camera
//! until it speaks or is unplugged; until then each opening is an error ("in use"). Then the thread ends by itself, and the
//! camera is back with the next capture. There is never more than one such thread a camera.
//!
//! # Troubleshooting
//! | error | what to look at |
//! |---|---|
//! | `not found` | `v4l2-ctl --list-devices`; a Pi camera module under libcamera wants driver `rpicam` |
//! | `permission denied` | the user must be in group `video` |
//! | `bus: ... is in use` | another program has the camera open, or it has been silent: plug it in again |
//! | `timeout` | the cable, the hub it hangs on, its power |
//! | `refused` | a control the camera has not, or a value outside its range: the error lists what there is |
//! | `does not open` | it offers neither JPEG nor YUYV, or a rate that is no whole number, as HDMI and TV inputs do |
//!
//! # Deliberately absent
//! H.264, several planes, cropping; HDMI and TV inputs, which nokhwa refuses (docs/design/0017).

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use iotpi_core::{Camera, CameraSpec, Clock, DeviceError, DeviceErrorKind, Frame, Timestamp, async_trait};
use nokhwa::{
    NokhwaError,
    utils::{CameraFormat, FrameFormat},
};
use rustix::io::Errno;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use self::controls::Controls;
use super::{
    mjpeg,
    yuyv::{self, Yuyv},
};

pub mod adjusting;
pub mod controls;
mod negotiate;

/// Buffers that may fill while one is looked at: nokhwa asks for four.
const BUFFERS: u32 = 3;
/// Without a frame for so long, and for five frame times, a camera counts as hung.
const SILENT: Duration = Duration::from_secs(5);
/// A camera that sends no picture for so long, but something, says what. Shorter than the silence, or it would not be heard.
const BROKEN: Duration = Duration::from_secs(4);
/// A frame older than this was stamped by a clock that is not ours.
const OLDEST: Duration = Duration::from_secs(10);

/// What the thread says last: the newest frame, or why it ended.
type Newest = Option<Result<Frame, Arc<DeviceError>>>;

/// What to ask of the camera.
#[derive(Debug, Clone, PartialEq)]
pub struct V4lConfig {
    /// `/dev/video0`, or a link to it that does not change with the port, from `/dev/v4l/by-id`.
    pub device: PathBuf,
    /// Pixels. The camera's nearest is taken.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second. The camera's nearest is taken.
    pub fps: u32,
    /// Set at every opening, in the order of their names.
    pub controls: Controls,
}

/// The camera.
pub struct V4l {
    wish: V4lConfig,
    spec: CameraSpec,
    clock: Arc<dyn Clock>,
    /// Absent after a failure: the next capture opens the camera anew.
    newest: Option<watch::Receiver<Newest>>,
    /// When it was opened, or a frame of it was last taken.
    heard_at: Instant,
}

impl fmt::Debug for V4l {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("V4l").field("wish", &self.wish).field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl V4l {
    /// Opens a camera at its nearest to what is wished for.
    ///
    /// Blocks for as long as the camera takes to answer, some tenths of a second.
    ///
    /// # Errors
    /// [`DeviceErrorKind::NotFound`] without such a camera, [`DeviceErrorKind::PermissionDenied`] outside
    /// group `video`, [`DeviceErrorKind::Bus`] when another program has it, [`DeviceErrorKind::Refused`] when it has no such
    /// control or not that value, [`DeviceErrorKind::Other`] when it offers neither JPEG nor YUYV, or nokhwa does not open it.
    pub fn open(wish: V4lConfig, clock: Arc<dyn Clock>) -> Result<Self, DeviceError> {
        let (spec, newest) = start(&wish, Arc::clone(&clock))?;
        Ok(Self { wish, spec, clock, newest: Some(newest), heard_at: Instant::now() })
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
            None => {
                let newest = self.reopen().await?;
                self.heard_at = Instant::now();
                newest
            }
        };
        let until = self.heard_at + silent(self.spec.fps);
        // Put back before waiting, so that a cancelled capture keeps the camera open.
        let changed = timeout_at(until, self.newest.insert(newest.clone()).changed()).await;
        let frame = newest.borrow_and_update().clone();
        let error = match (changed, frame) {
            (Ok(Ok(())), Some(Ok(frame))) => {
                self.heard_at = Instant::now();
                return Ok(frame);
            }
            (Ok(_), Some(Err(error))) => {
                DeviceError::new(error.kind(), "the camera failed").with_source(error)
            }
            (Ok(_), _) => DeviceError::new(DeviceErrorKind::NotFound, "the camera went away"),
            (Err(_), _) => {
                let message = format!("{} gives no frame", self.wish.device.display());
                DeviceError::new(DeviceErrorKind::Timeout, message)
            }
        };
        self.newest = None;
        Err(error)
    }
}

fn silent(fps: f64) -> Duration {
    SILENT.max(Duration::try_from_secs_f64(5.0 / fps.max(0.01)).unwrap_or_default())
}

/// Opens the camera on a thread and waits until it has said what it delivers.
fn start(
    wish: &V4lConfig,
    clock: Arc<dyn Clock>,
) -> Result<(CameraSpec, watch::Receiver<Newest>), DeviceError> {
    let (frames, newest) = watch::channel(None);
    let (opened, answer) = mpsc::sync_channel(1);
    let wish = wish.clone();
    // A device of nokhwa is not `Send`: it is opened where it runs. The thread ends with the last receiver, or with the camera.
    thread::spawn(move || match open_device(&wish) {
        Ok(camera) => {
            let format = camera.camera_format();
            let (width, height, fps) = (format.width(), format.height(), format.frame_rate().into());
            if opened.send(Ok(CameraSpec { width, height, fps })).is_ok() {
                // The camera is closed before the error is told, which is answered by opening it anew.
                if let Err(error) = run(camera, &wish, &*clock, &frames) {
                    frames.send_replace(Some(Err(Arc::new(error))));
                }
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

fn open_device(wish: &V4lConfig) -> Result<nokhwa::Camera, DeviceError> {
    let mut camera = negotiate::open(wish)?;
    if !wish.controls.is_empty() {
        let beside = v4l::Device::with_path(&wish.device).map_err(|e| camera_error(&wish.device, e))?;
        controls::set(&beside, &wish.device, &wish.controls)?;
    }
    camera.open_stream().map_err(|e| nokhwa_error(&wish.device, e))?;
    Ok(camera)
}

/// Shows frames until nobody looks any more.
fn run(
    mut camera: nokhwa::Camera,
    wish: &V4lConfig,
    clock: &dyn Clock,
    frames: &watch::Sender<Newest>,
) -> Result<(), DeviceError> {
    let failed = |e| nokhwa_error(&wish.device, e);
    let format = camera.camera_format();
    let mut good = Instant::now();
    while !frames.is_closed() {
        let buffer = camera.frame().map_err(failed)?;
        let fetched = Instant::now();
        match to_frame(buffer.buffer(), format, taken_at(buffer.capture_timestamp(), clock)) {
            Ok(frame) => frames.send_replace(Some(Ok(frame))),
            // Mangled on the cable, or the first of a camera that wakes up: the next may be whole.
            Err(_) if good.elapsed() < BROKEN => continue,
            Err(error) => return Err(error),
        };
        good = Instant::now();
        for _ in 0..passed_over(good - fetched, format.frame_rate()) {
            camera.frame_raw().map_err(failed)?;
        }
    }
    Ok(())
}

/// Encoding may take longer than a frame does: of those that waited meanwhile all but the newest are old.
fn passed_over(encoding: Duration, fps: u32) -> u32 {
    let waited = encoding.as_secs_f64() * f64::from(fps);
    (1..BUFFERS).filter(|n| waited >= f64::from(n + 1)).count().try_into().unwrap_or_default()
}

/// The kernel stamps a frame, nokhwa makes a time of day of it by the system's clock; its age is the same on ours.
fn taken_at(stamp: Option<Duration>, clock: &dyn Clock) -> Timestamp {
    let age = stamp.and_then(|stamp| SystemTime::UNIX_EPOCH.checked_add(stamp)?.elapsed().ok());
    clock.now().minus(age.filter(|age| *age <= OLDEST).unwrap_or_default())
}

/// A camera's JPEG is cut out of the kernel's buffer and no more; YUYV is encoded.
fn to_frame(buffer: &[u8], format: CameraFormat, taken_at: Timestamp) -> Result<Frame, DeviceError> {
    let broken = |e: Box<dyn std::error::Error + Send + Sync>| {
        DeviceError::new(DeviceErrorKind::Other, "the camera sent no picture").with_source(e)
    };
    let jpeg = if format.format() == FrameFormat::MJPEG {
        // nokhwa gives the whole buffer, in which a longer picture may have been before.
        let picture = mjpeg::first(buffer).ok_or_else(|| broken("no whole JPEG in the buffer".into()))?;
        Bytes::copy_from_slice(picture)
    } else {
        let (width, height) = (format.width() as usize, format.height() as usize);
        let picture = Yuyv { bytes: buffer, stride: stride(buffer.len(), width, height), width, height };
        yuyv::encode(&picture).map_err(|e| broken(Box::new(e)))?.into()
    };
    Frame::from_jpeg(jpeg, taken_at).map_err(|e| broken(Box::new(e)))
}

/// Bytes of a line. nokhwa does not tell; a buffer of so many equal lines that are longer has them filled up.
fn stride(buffer: usize, width: usize, height: usize) -> usize {
    let least = width.div_ceil(2) * 4;
    match buffer.checked_div(height) {
        Some(line) if line > least && line * height == buffer => line,
        _ => least,
    }
}

/// nokhwa keeps the system's error as text only: `... (os error 19)`.
fn nokhwa_error(device: &Path, error: NokhwaError) -> DeviceError {
    let text = error.to_string();
    let number = text.rsplit_once("(os error ").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
    let (kind, message) = known(device, number.map(Errno::from_raw_os_error)).unwrap_or_else(|| {
        (DeviceErrorKind::Other, format!("{} does not open as JPEG or YUYV, or failed", device.display()))
    });
    DeviceError::new(kind, message).with_source(error)
}

/// Says what to do about an error of the system.
fn camera_error(device: &Path, error: io::Error) -> DeviceError {
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    let (kind, message) = known(device, number)
        .unwrap_or_else(|| (DeviceErrorKind::Other, format!("{} failed", device.display())));
    DeviceError::new(kind, message).with_source(error)
}

fn known(device: &Path, number: Option<Errno>) -> Option<(DeviceErrorKind, String)> {
    let path = device.display();
    Some(match number? {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => (
            DeviceErrorKind::NotFound,
            format!("{path} is not there: `v4l2-ctl --list-devices` lists the cameras"),
        ),
        Errno::ACCESS | Errno::PERM => (
            DeviceErrorKind::PermissionDenied,
            format!("{path} may not be used: add the user to group video"),
        ),
        Errno::BUSY => (DeviceErrorKind::Bus, format!("{path} is in use by another program, or hangs")),
        Errno::NOTTY => (DeviceErrorKind::Other, format!("{path} is no camera")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use iotpi_core::ManualClock;
    use nokhwa::utils::Resolution;

    use super::*;
    use crate::camera::testcard::TestCard;

    fn wish(device: &str) -> V4lConfig {
        V4lConfig { device: device.into(), width: 640, height: 480, fps: 15, controls: Controls::new() }
    }

    fn open(device: &str) -> DeviceErrorKind {
        V4l::open(wish(device), ManualClock::at(Timestamp::MIN)).unwrap_err().kind()
    }

    fn format(pixels: FrameFormat) -> CameraFormat {
        CameraFormat::new(Resolution::new(160, 120), pixels, 15)
    }

    fn picture() -> Bytes {
        let spec = CameraSpec { width: 160, height: 120, fps: 1.0 };
        let mut card = TestCard::new(spec, ManualClock::at(Timestamp::MIN)).unwrap();
        card.paint(Timestamp::MIN).unwrap().jpeg().clone()
    }

    #[test]
    fn a_camera_that_is_not_there_is_not_found() {
        assert_eq!(open("/dev/video250"), DeviceErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_camera_says_so() {
        assert_eq!(open("/dev/null"), DeviceErrorKind::Other);
    }

    #[test]
    fn the_systems_error_is_found_in_nokhwas_text() {
        let kind = |text: &str| {
            nokhwa_error(Path::new("/dev/video0"), NokhwaError::ReadFrameError(text.into())).kind()
        };

        assert_eq!(kind("No such device (os error 19)"), DeviceErrorKind::NotFound);
        assert_eq!(kind("Device or resource busy (os error 16)"), DeviceErrorKind::Bus);
        assert_eq!(kind("Permission denied (os error 13)"), DeviceErrorKind::PermissionDenied);
        assert_eq!(kind("Failed to Fufill"), DeviceErrorKind::Other);
    }

    #[test]
    fn jpeg_of_the_camera_is_passed_through_untouched_without_what_lies_behind_it() {
        let jpeg = picture();
        let buffer = [&jpeg[..], &jpeg[50..], &[0; 4096]].concat();
        let taken = |buffer| to_frame(buffer, format(FrameFormat::MJPEG), Timestamp::MIN);

        assert_eq!(taken(&jpeg).unwrap().jpeg(), &jpeg);
        assert_eq!(taken(&buffer).unwrap().jpeg(), &jpeg);
        for bad in [&jpeg[..50], &buffer[1..], &[0; 100], &[]] {
            assert_eq!(taken(bad).unwrap_err().kind(), DeviceErrorKind::Other);
        }
    }

    #[test]
    fn yuyv_is_encoded_whether_its_lines_are_filled_up_or_not() {
        for line in [320, 384] {
            let buffer = vec![128; line * 120];

            let frame = to_frame(&buffer, format(FrameFormat::YUYV), Timestamp::MIN).unwrap();

            assert_eq!((frame.width(), frame.height()), (160, 120));
            assert_eq!(stride(buffer.len(), 160, 120), line);
        }
        // A page filled up is no longer line.
        assert_eq!(stride(40_960, 160, 120), 320);
    }

    #[test]
    fn of_the_frames_that_waited_for_the_encoder_the_newest_is_shown() {
        let passed_over = |millis| passed_over(Duration::from_millis(millis), 10);

        assert_eq!([0, 99, 199].map(passed_over), [0, 0, 0]);
        assert_eq!([200, 299, 300, 9000].map(passed_over), [1, 1, 2, 2]);
    }

    #[test]
    fn a_frame_is_as_old_as_the_kernel_says_unless_that_cannot_be() {
        let noon = Timestamp::parse("2026-06-01T12:00:00Z").unwrap();
        let clock = ManualClock::at(noon);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let age = |stamp| noon.since(taken_at(stamp, &*clock)).as_secs();

        assert_eq!(age(Some(now - Duration::from_secs(2))), 2);
        assert_eq!(age(None), 0);
        assert_eq!(age(Some(now - Duration::from_secs(1000))), 0);
        assert_eq!(age(Some(now + Duration::from_secs(1000))), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_camera_that_falls_silent_is_an_error_after_5_s_and_is_opened_anew() {
        // The thread that waits for a frame and gets none.
        let (stuck, newest) = watch::channel(None);
        let clock = ManualClock::at(Timestamp::MIN);
        let spec = CameraSpec { width: 160, height: 120, fps: 15.0 };
        let newest = Some(newest);
        let mut camera = V4l { wish: wish("/dev/video250"), spec, clock, newest, heard_at: Instant::now() };
        let frame = Frame::from_jpeg(picture(), Timestamp::MIN).unwrap();
        stuck.send_replace(Some(Ok(frame.clone())));
        assert_eq!(camera.capture().await.unwrap().jpeg(), frame.jpeg());

        // One that gives up waiting does not start the time again.
        let began = Instant::now();
        tokio::time::timeout(Duration::from_secs(4), camera.capture()).await.unwrap_err();
        let silent = camera.capture().await.unwrap_err();

        assert_eq!((silent.kind(), began.elapsed().as_secs()), (DeviceErrorKind::Timeout, 5));
        assert!(stuck.is_closed());
        assert_eq!(camera.capture().await.unwrap_err().kind(), DeviceErrorKind::NotFound);
    }
}
