//! V4L2 cameras: USB cameras, and Pi cameras whose driver offers JPEG or YUYV.
//!
//! A camera that sends JPEG is passed through untouched; one that sends YUYV is encoded. The camera runs on a
//! thread of its own and only the newest frame is kept: who comes late sees what is now. A frame is stamped with the time the
//! kernel gives it, not when it was fetched. A camera that is unplugged, or gives no frame for some seconds, is an error; the
//! next capture opens it anew, with its controls.
//!
//! # Troubleshooting
//! | error | what to look at |
//! |---|---|
//! | `not found` | `v4l2-ctl --list-devices`; a Pi camera module under libcamera wants driver `rpicam` |
//! | `permission denied` | the user must be in group `video` |
//! | `bus: ... is in use` | another program has the camera open |
//! | `timeout` | the cable, the hub it hangs on, its power |
//! | `refused` | a control the camera has not, or a value outside its range: the error lists what there is |
//!
//! # Deliberately absent
//! H.264, several planes, cropping.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use iotpi_core::{Camera, CameraSpec, Clock, DeviceError, DeviceErrorKind, Frame, Timestamp, async_trait};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use v4l::{
    buffer::{Flags, Metadata, Type},
    io::{mmap::Stream, traits::CaptureStream},
};

use self::{
    controls::Controls,
    negotiate::{Agreed, Pixels},
};
use super::yuyv::{self, Yuyv};

pub mod adjusting;
pub mod controls;
mod negotiate;

/// Buffers the kernel fills ahead.
const BUFFERS: u32 = 4;
/// Without a frame for so long, and for five frame times, a camera counts as hung.
const SILENT: Duration = Duration::from_secs(5);
/// A frame older than this was stamped by a clock that is not ours.
const OLDEST: Duration = Duration::from_secs(10);
/// `POLLIN`.
const READABLE: i16 = 1;

/// What the thread says last: the newest frame, or why it ended.
type Newest = Option<Result<Frame, Arc<DeviceError>>>;

/// What to ask of the camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
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
    wish: Wish,
    spec: CameraSpec,
    clock: Arc<dyn Clock>,
    /// Absent after a failure: the next capture opens the camera anew.
    newest: Option<watch::Receiver<Newest>>,
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
    /// control or not that value, [`DeviceErrorKind::Other`] when it offers neither JPEG nor YUYV.
    pub fn open(wish: Wish, clock: Arc<dyn Clock>) -> Result<Self, DeviceError> {
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
    let (opened, answer) = mpsc::sync_channel(1);
    let wish = wish.clone();
    // The thread ends with the last receiver, or with the camera.
    thread::spawn(move || match open_device(&wish) {
        Ok((agreed, stream)) => {
            if opened.send(Ok(agreed.spec())).is_ok() {
                run(stream, &wish, agreed, &*clock, &frames);
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

fn open_device(wish: &Wish) -> Result<(Agreed, Stream<'static>), DeviceError> {
    let failed = |e| camera_error(&wish.device, e);
    let device = v4l::Device::with_path(&wish.device).map_err(failed)?;
    let agreed = negotiate::agree(&device, wish)?;
    controls::set(&device, &wish.device, &wish.controls)?;
    let mut stream = Stream::with_buffers(&device, Type::VideoCapture, BUFFERS).map_err(failed)?;
    let five_frames = Duration::try_from_secs_f64(5.0 / agreed.fps.max(0.01)).unwrap_or_default();
    stream.set_timeout(SILENT.max(five_frames));
    Ok((agreed, stream))
}

fn run(
    mut stream: Stream<'_>,
    wish: &Wish,
    agreed: Agreed,
    clock: &dyn Clock,
    frames: &watch::Sender<Newest>,
) {
    let ready = stream.handle();
    let mut passed_over = 0;
    let mut good = clock_gettime(ClockId::Monotonic).tv_sec;
    while !frames.is_closed() {
        let (bytes, meta) = match stream.next() {
            Ok((bytes, meta)) => (&bytes[..bytes.len().min(meta.bytesused as usize)], meta),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                frames.send_replace(Some(Err(Arc::new(camera_error(&wish.device, error)))));
                return;
            }
        };
        // Encoding may take longer than a frame does: what waited meanwhile is old. Each buffer is passed over once at most.
        if passed_over < BUFFERS && ready.poll(READABLE, 0).is_ok_and(|newer| newer > 0) {
            passed_over += 1;
            continue;
        }
        passed_over = 0;
        let now = clock_gettime(ClockId::Monotonic).tv_sec;
        let frame = if meta.flags.contains(Flags::ERROR) {
            Err(DeviceError::new(DeviceErrorKind::Checksum, "the camera's driver says the frame is damaged"))
        } else {
            to_frame(bytes, agreed, taken_at(meta, clock))
        };
        match frame {
            Ok(_) => good = now,
            // Mangled on the cable, or the first of a camera that wakes up: the next may be whole.
            Err(_) if now - good < SILENT.as_secs().cast_signed() => continue,
            Err(_) => {}
        }
        let failed = frame.is_err();
        frames.send_replace(Some(frame.map_err(Arc::new)));
        if failed {
            return;
        }
    }
}

/// The kernel stamps a frame by the clock that does not jump; its age is the same on ours.
fn taken_at(meta: &Metadata, clock: &dyn Clock) -> Timestamp {
    let now = clock.now();
    if (meta.flags & Flags::TIMESTAMP_MASK) != Flags::TIMESTAMP_MONOTONIC {
        return now;
    }
    let steady = clock_gettime(ClockId::Monotonic);
    let micros =
        (steady.tv_sec - meta.timestamp.sec) * 1_000_000 + steady.tv_nsec / 1000 - meta.timestamp.usec;
    let age = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
    if age > OLDEST { now } else { now.minus(age) }
}

/// A camera's JPEG is copied out of the kernel's buffer and no more; YUYV is encoded.
fn to_frame(bytes: &[u8], agreed: Agreed, taken_at: Timestamp) -> Result<Frame, DeviceError> {
    let broken = |e: Box<dyn std::error::Error + Send + Sync>| {
        DeviceError::new(DeviceErrorKind::Other, "the camera sent no picture").with_source(e)
    };
    let jpeg = match agreed.pixels {
        Pixels::Jpeg => Bytes::copy_from_slice(bytes),
        Pixels::Yuyv { stride } => {
            let Agreed { width, height, .. } = agreed;
            let picture = Yuyv { bytes, stride, width: width as usize, height: height as usize };
            yuyv::encode(&picture).map_err(|e| broken(Box::new(e)))?.into()
        }
    };
    Frame::from_jpeg(jpeg, taken_at).map_err(|e| broken(Box::new(e)))
}

/// Says what to do about an error of the system.
fn camera_error(device: &Path, error: io::Error) -> DeviceError {
    use rustix::io::Errno;

    let path = device.display();
    let (kind, message) = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => (
            DeviceErrorKind::NotFound,
            format!("{path} is not there: `v4l2-ctl --list-devices` lists the cameras"),
        ),
        Some(Errno::ACCESS | Errno::PERM) => (
            DeviceErrorKind::PermissionDenied,
            format!("{path} may not be used: add the user to group video"),
        ),
        Some(Errno::BUSY) => (DeviceErrorKind::Bus, format!("{path} is in use by another program")),
        Some(Errno::NOTTY) => (DeviceErrorKind::Other, format!("{path} is no camera")),
        None if error.kind() == io::ErrorKind::TimedOut => {
            (DeviceErrorKind::Timeout, format!("{path} gives no frame"))
        }
        _ => (DeviceErrorKind::Other, format!("{path} failed")),
    };
    DeviceError::new(kind, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use iotpi_core::ManualClock;
    use v4l::Timestamp as Stamp;

    use super::*;
    use crate::camera::testcard::TestCard;

    fn wish(device: &str) -> Wish {
        Wish { device: device.into(), width: 640, height: 480, fps: 15, controls: Controls::new() }
    }

    fn open(device: &str) -> DeviceErrorKind {
        V4l::open(wish(device), ManualClock::at(Timestamp::MIN)).unwrap_err().kind()
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
    fn jpeg_of_the_camera_is_passed_through_untouched() {
        let clock = ManualClock::at(Timestamp::MIN);
        let spec = CameraSpec { width: 160, height: 120, fps: 1.0 };
        let jpeg = TestCard::new(spec, clock.clone()).unwrap().paint(Timestamp::MIN).unwrap().jpeg().clone();
        let agreed = Agreed { width: 160, height: 120, pixels: Pixels::Jpeg, fps: 15.0 };

        let frame = to_frame(&jpeg, agreed, Timestamp::MIN).unwrap();

        assert_eq!(frame.jpeg(), &jpeg);
        let cut_off = to_frame(&jpeg[..50], agreed, Timestamp::MIN).unwrap_err();
        assert_eq!(cut_off.kind(), DeviceErrorKind::Other);
    }

    #[test]
    fn a_frame_is_as_old_as_the_kernel_says_unless_that_cannot_be() {
        let noon = Timestamp::parse("2026-06-01T12:00:00Z").unwrap();
        let clock = ManualClock::at(noon);
        let steady = clock_gettime(ClockId::Monotonic);
        let age = |flags, secs| {
            let timestamp = Stamp::new(steady.tv_sec - secs, steady.tv_nsec / 1000);
            let meta = Metadata { flags, timestamp, ..Metadata::default() };
            noon.since(taken_at(&meta, &*clock)).as_secs()
        };

        assert_eq!(age(Flags::TIMESTAMP_MONOTONIC, 2), 2);
        assert_eq!(age(Flags::TIMESTAMP_UNKNOWN, 2), 0);
        assert_eq!(age(Flags::TIMESTAMP_MONOTONIC, 1000), 0);
        assert_eq!(age(Flags::TIMESTAMP_MONOTONIC, -1000), 0);
    }
}
