//! V4L2 cameras: USB cameras, and Raspberry Pi cameras with a driver that provides JPEG or YUYV.
//!
//! JPEG frames are passed through unchanged; YUYV frames are encoded. The camera runs on a thread of its own
//! and only the newest frame is kept, so a slow reader always gets the present one. A frame has the timestamp
//! of the kernel, not the time it was read. A camera that is unplugged, or delivers no frame for some
//! seconds, is an error; the next capture opens it again and sets its controls again.
//!
//! nokhwa waits for a frame without a timeout. The thread of a camera that delivers no frames therefore keeps
//! running, and keeps the camera open until a frame arrives or the camera is unplugged; until then every
//! attempt to open it fails ("in use"). Then the thread ends, and the next capture succeeds. There is never
//! more than one such thread per camera.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found` | `v4l2-ctl --list-devices`; a Raspberry Pi camera module with libcamera needs driver `rpicam` |
//! | `permission denied` | the user must be in group `video` |
//! | `bus: ... is in use` | another program uses the camera, or it delivered no frames: unplug it and plug it in again |
//! | `timeout` | the cable, the USB hub, its power supply |
//! | `refused` | a control the camera does not have, or a value outside its range: the error lists the valid ones |
//! | `does not open` | it provides neither JPEG nor YUYV, or has a fractional frame rate, as HDMI and TV inputs do |
//!
//! # Deliberately absent
//! H.264, multi-planar formats, cropping; HDMI and TV inputs, which nokhwa rejects (docs/design/0017).

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

pub use self::{
    adjusting::ControlActuator,
    controls::{Controls, Setting},
};
use super::{
    mjpeg,
    yuyv::{self, Yuyv},
};

mod adjusting;
mod controls;
mod negotiate;

/// Buffers the driver can fill while one is being read: nokhwa requests four.
const BUFFERS: u32 = 3;
/// A camera without a frame for this long, and for five frame intervals, counts as hung.
const NO_FRAME_TIMEOUT: Duration = Duration::from_secs(5);
/// A camera that sends only invalid frames for this long returns the error of the last one. Shorter than the
/// timeout above, which would hide that error.
const INVALID_FRAMES_TIMEOUT: Duration = Duration::from_secs(4);
/// A frame older than this has a timestamp of a different clock.
const MAX_FRAME_AGE: Duration = Duration::from_secs(10);

/// The last message of the thread: the newest frame, or the error that ended it.
type Newest = Option<Result<Frame, Arc<DeviceError>>>;

/// The settings of the camera.
///
/// ```
/// use iotpi_hal::camera::v4l::{Setting, V4lConfig};
///
/// let mut config = V4lConfig::new("/dev/video0");
/// (config.width, config.height) = (1280, 720);
/// config.controls.insert("auto_exposure".to_owned(), Setting::Switch(false));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct V4lConfig {
    /// The device file `/dev/video0`, or a link in `/dev/v4l/by-id`, which does not change with the port.
    pub device: PathBuf,
    /// Width in pixels. The nearest size of the camera is used.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames a second. The nearest rate of the camera is used.
    pub fps: u32,
    /// Controls that are set at every opening, in the order of their names.
    pub controls: Controls,
}

impl V4lConfig {
    /// The settings of a camera with 640 by 480 pixels, 15 frames a second and its own controls.
    #[must_use]
    pub fn new(device: impl Into<PathBuf>) -> Self {
        Self { device: device.into(), width: 640, height: 480, fps: 15, controls: Controls::new() }
    }
}

/// A V4L2 camera.
///
/// ```no_run
/// use iotpi_core::{Camera, SystemClock};
/// use iotpi_hal::camera::v4l::{V4l, V4lConfig};
///
/// # async fn capture() -> Result<(), iotpi_core::DeviceError> {
/// let mut camera = V4l::open(V4lConfig::new("/dev/video0"), SystemClock::shared())?;
/// let frame = camera.capture().await?;
/// println!("{} by {} pixels", frame.width(), frame.height());
/// # Ok(())
/// # }
/// ```
pub struct V4l {
    config: V4lConfig,
    spec: CameraSpec,
    clock: Arc<dyn Clock>,
    /// `None` after a failure: the next capture opens the camera again.
    newest: Option<watch::Receiver<Newest>>,
    /// The time of the opening, or of the last frame.
    last_frame_at: Instant,
}

impl fmt::Debug for V4l {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("V4l").field("config", &self.config).field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl V4l {
    /// Opens a camera at its nearest match for the settings.
    ///
    /// Blocks until the camera answers, some tenths of a second.
    ///
    /// # Errors
    /// [`DeviceErrorKind::NotFound`] without such a camera, [`DeviceErrorKind::PermissionDenied`] when the
    /// user is not in group `video`, [`DeviceErrorKind::Bus`] when another program uses it,
    /// [`DeviceErrorKind::Refused`] when it does not have a control or does not accept its value,
    /// [`DeviceErrorKind::Other`] when it provides neither JPEG nor YUYV, or nokhwa does not open it.
    pub fn open(config: V4lConfig, clock: Arc<dyn Clock>) -> Result<Self, DeviceError> {
        let (spec, newest) = start(&config, Arc::clone(&clock))?;
        Ok(Self { config, spec, clock, newest: Some(newest), last_frame_at: Instant::now() })
    }

    async fn reopen(&self) -> Result<watch::Receiver<Newest>, DeviceError> {
        let (config, clock) = (self.config.clone(), Arc::clone(&self.clock));
        let started = tokio::task::spawn_blocking(move || start(&config, clock)).await;
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
                self.last_frame_at = Instant::now();
                newest
            }
        };
        let until = self.last_frame_at + silent(self.spec.fps);
        // Stored before waiting, so that a cancelled capture keeps the camera open.
        let changed = timeout_at(until, self.newest.insert(newest.clone()).changed()).await;
        let frame = newest.borrow_and_update().clone();
        let error = match (changed, frame) {
            (Ok(Ok(())), Some(Ok(frame))) => {
                self.last_frame_at = Instant::now();
                return Ok(frame);
            }
            (Ok(_), Some(Err(error))) => {
                DeviceError::new(error.kind(), "the camera failed").with_source(error)
            }
            (Ok(_), _) => DeviceError::new(DeviceErrorKind::NotFound, "the camera was disconnected"),
            (Err(_), _) => {
                let message = format!("{} gives no frame", self.config.device.display());
                DeviceError::new(DeviceErrorKind::Timeout, message)
            }
        };
        self.newest = None;
        Err(error)
    }
}

fn silent(fps: f64) -> Duration {
    NO_FRAME_TIMEOUT.max(Duration::try_from_secs_f64(5.0 / fps.max(0.01)).unwrap_or_default())
}

/// Opens the camera on a thread and waits for the format it delivers.
fn start(
    config: &V4lConfig,
    clock: Arc<dyn Clock>,
) -> Result<(CameraSpec, watch::Receiver<Newest>), DeviceError> {
    let (frames, newest) = watch::channel(None);
    let (opened, answer) = mpsc::sync_channel(1);
    let config = config.clone();
    // A device of nokhwa is not `Send`, so it is opened on the thread that uses it. The thread ends with the
    // last receiver, or with the camera.
    thread::spawn(move || match open_device(&config) {
        Ok(camera) => {
            let format = camera.camera_format();
            let (width, height, fps) = (format.width(), format.height(), format.frame_rate().into());
            if opened.send(Ok(CameraSpec::new(width, height, fps))).is_ok() {
                // The camera is closed before the error is published, because the receiver then opens it
                // again.
                if let Err(error) = run(camera, &config, &*clock, &frames) {
                    frames.send_replace(Some(Err(Arc::new(error))));
                }
            }
        }
        // `start` waits for this answer.
        Err(error) => drop(opened.send(Err(error))),
    });
    let spec = answer
        .recv()
        .map_err(|_| DeviceError::new(DeviceErrorKind::Other, "opening the camera panicked"))??;
    Ok((spec, newest))
}

fn open_device(config: &V4lConfig) -> Result<nokhwa::Camera, DeviceError> {
    let mut camera = negotiate::open(config)?;
    if !config.controls.is_empty() {
        let beside = v4l::Device::with_path(&config.device).map_err(|e| camera_error(&config.device, e))?;
        controls::set(&beside, &config.device, &config.controls)?;
    }
    camera.open_stream().map_err(|e| nokhwa_error(&config.device, e))?;
    Ok(camera)
}

/// Publishes frames until all receivers are dropped.
fn run(
    mut camera: nokhwa::Camera,
    config: &V4lConfig,
    clock: &dyn Clock,
    frames: &watch::Sender<Newest>,
) -> Result<(), DeviceError> {
    let failed = |e| nokhwa_error(&config.device, e);
    let format = camera.camera_format();
    let mut good = Instant::now();
    while !frames.is_closed() {
        let buffer = camera.frame().map_err(failed)?;
        let fetched = Instant::now();
        match to_frame(buffer.buffer(), format, taken_at(buffer.capture_timestamp(), clock)) {
            Ok(frame) => frames.send_replace(Some(Ok(frame))),
            // Corrupted on the cable, or the first frame of a camera that starts up: the next may be valid.
            Err(_) if good.elapsed() < INVALID_FRAMES_TIMEOUT => continue,
            Err(error) => return Err(error),
        };
        good = Instant::now();
        for _ in 0..frames_to_skip(good - fetched, format.frame_rate()) {
            camera.frame_raw().map_err(failed)?;
        }
    }
    Ok(())
}

/// The number of frames to skip. Encoding may take longer than a frame interval: of the frames that arrived
/// meanwhile, only the newest is used.
fn frames_to_skip(encoding: Duration, fps: u32) -> u32 {
    let waited = encoding.as_secs_f64() * f64::from(fps);
    (1..BUFFERS).filter(|n| waited >= f64::from(n + 1)).count().try_into().unwrap_or_default()
}

/// The kernel stamps a frame, and nokhwa converts the stamp to a time of day of the system clock. Its age is
/// the same on `clock`.
fn taken_at(stamp: Option<Duration>, clock: &dyn Clock) -> Timestamp {
    let age = stamp.and_then(|stamp| SystemTime::UNIX_EPOCH.checked_add(stamp)?.elapsed().ok());
    clock.now().minus(age.filter(|age| *age <= MAX_FRAME_AGE).unwrap_or_default())
}

/// Copies only the JPEG out of the kernel's buffer; encodes YUYV.
fn to_frame(buffer: &[u8], format: CameraFormat, taken_at: Timestamp) -> Result<Frame, DeviceError> {
    let invalid_frame = |e: Box<dyn std::error::Error + Send + Sync>| {
        DeviceError::new(DeviceErrorKind::Other, "the camera sent an invalid frame").with_source(e)
    };
    let jpeg = if format.format() == FrameFormat::MJPEG {
        // nokhwa returns the whole buffer, which may contain the end of a longer earlier frame.
        let picture =
            mjpeg::first(buffer).ok_or_else(|| invalid_frame("no whole JPEG in the buffer".into()))?;
        Bytes::copy_from_slice(picture)
    } else {
        let (width, height) = (format.width() as usize, format.height() as usize);
        let picture = Yuyv { bytes: buffer, stride: stride(buffer.len(), width, height), width, height };
        yuyv::encode(&picture).map_err(|e| invalid_frame(Box::new(e)))?.into()
    };
    Frame::from_jpeg(jpeg, taken_at).map_err(|e| invalid_frame(Box::new(e)))
}

/// Bytes of a line, which nokhwa does not report. When the buffer divides into `height` equal lines that are
/// longer than needed, the lines are padded.
fn stride(buffer: usize, width: usize, height: usize) -> usize {
    let least = width.div_ceil(2) * 4;
    match buffer.checked_div(height) {
        Some(line) if line > least && line * height == buffer => line,
        _ => least,
    }
}

/// nokhwa keeps the system's error only as text: `... (os error 19)`.
fn nokhwa_error(device: &Path, error: NokhwaError) -> DeviceError {
    let text = error.to_string();
    let number = text.rsplit_once("(os error ").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
    let (kind, message) = known(device, number.map(Errno::from_raw_os_error)).unwrap_or_else(|| {
        (DeviceErrorKind::Other, format!("{} does not open as JPEG or YUYV, or failed", device.display()))
    });
    DeviceError::new(kind, message).with_source(error)
}

/// The error for a system error, with the way to fix it.
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
            format!("{path} cannot be opened: add the user to group video"),
        ),
        Errno::BUSY => (DeviceErrorKind::Bus, format!("{path} is in use by another program, or hangs")),
        Errno::NOTTY => (DeviceErrorKind::Other, format!("{path} is no camera")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use iotpi_core::time::ManualClock;
    use nokhwa::utils::Resolution;

    use super::*;
    use crate::camera::testcard::TestCard;

    fn config(device: &str) -> V4lConfig {
        V4lConfig { device: device.into(), width: 640, height: 480, fps: 15, controls: Controls::new() }
    }

    fn open(device: &str) -> DeviceErrorKind {
        V4l::open(config(device), ManualClock::at(Timestamp::MIN)).unwrap_err().kind()
    }

    fn format(pixels: FrameFormat) -> CameraFormat {
        CameraFormat::new(Resolution::new(160, 120), pixels, 15)
    }

    fn picture() -> Bytes {
        let spec = CameraSpec::new(160, 120, 1.0);
        let mut card = TestCard::new(spec, ManualClock::at(Timestamp::MIN)).unwrap();
        card.paint(Timestamp::MIN).unwrap().jpeg().clone()
    }

    #[test]
    fn a_missing_camera_is_not_found() {
        assert_eq!(open("/dev/video250"), DeviceErrorKind::NotFound);
    }

    #[test]
    fn a_device_that_is_no_camera_is_refused() {
        assert_eq!(open("/dev/null"), DeviceErrorKind::Other);
    }

    #[test]
    fn the_system_error_is_found_in_the_text_of_nokhwa() {
        let kind = |text: &str| {
            nokhwa_error(Path::new("/dev/video0"), NokhwaError::ReadFrameError(text.into())).kind()
        };

        assert_eq!(kind("No such device (os error 19)"), DeviceErrorKind::NotFound);
        assert_eq!(kind("Device or resource busy (os error 16)"), DeviceErrorKind::Bus);
        assert_eq!(kind("Permission denied (os error 13)"), DeviceErrorKind::PermissionDenied);
        assert_eq!(kind("Failed to Fufill"), DeviceErrorKind::Other);
    }

    #[test]
    fn a_jpeg_of_the_camera_is_passed_through_without_the_bytes_after_it() {
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
    fn yuyv_is_encoded_with_and_without_padding_of_its_lines() {
        for line in [320, 384] {
            let buffer = vec![128; line * 120];

            let frame = to_frame(&buffer, format(FrameFormat::YUYV), Timestamp::MIN).unwrap();

            assert_eq!((frame.width(), frame.height()), (160, 120));
            assert_eq!(stride(buffer.len(), 160, 120), line);
        }
        // Padding of the buffer to a whole page does not make the lines longer.
        assert_eq!(stride(40_960, 160, 120), 320);
    }

    #[test]
    fn the_encoder_takes_the_newest_of_the_pending_frames() {
        let frames_to_skip = |millis| frames_to_skip(Duration::from_millis(millis), 10);

        assert_eq!([0, 99, 199].map(frames_to_skip), [0, 0, 0]);
        assert_eq!([200, 299, 300, 9000].map(frames_to_skip), [1, 1, 2, 2]);
    }

    #[test]
    fn a_frame_has_the_timestamp_of_the_kernel_unless_it_is_implausible() {
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
    async fn a_camera_without_frames_is_an_error_after_5_s_and_is_opened_again() {
        // The thread that waits for a frame that never arrives.
        let (stuck, newest) = watch::channel(None);
        let clock = ManualClock::at(Timestamp::MIN);
        let spec = CameraSpec::new(160, 120, 15.0);
        let newest = Some(newest);
        let mut camera =
            V4l { config: config("/dev/video250"), spec, clock, newest, last_frame_at: Instant::now() };
        let frame = Frame::from_jpeg(picture(), Timestamp::MIN).unwrap();
        stuck.send_replace(Some(Ok(frame.clone())));
        assert_eq!(camera.capture().await.unwrap().jpeg(), frame.jpeg());

        // A cancelled capture does not restart the timeout.
        let began = Instant::now();
        tokio::time::timeout(Duration::from_secs(4), camera.capture()).await.unwrap_err();
        let silent = camera.capture().await.unwrap_err();

        assert_eq!((silent.kind(), began.elapsed().as_secs()), (DeviceErrorKind::Timeout, 5));
        assert!(stuck.is_closed());
        assert_eq!(camera.capture().await.unwrap_err().kind(), DeviceErrorKind::NotFound);
    }
}
