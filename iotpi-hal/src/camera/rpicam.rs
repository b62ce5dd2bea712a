//! Camera modules on the ribbon cable (CSI) of a Raspberry Pi, through `rpicam-vid`, which is part of
//! Raspberry Pi OS.
//!
//! The program runs as a child process and writes JPEG frames to a pipe. Only the newest frame is kept, so a
//! slow reader always gets the present one. A child that exits, or writes no frame for some seconds, is
//! killed and restarted after a back-off. Dropping the camera kills the child. A frame is stamped when its
//! last byte arrives, some milliseconds after the exposure.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: ... not installed` | `sudo apt install rpicam-apps` (before Debian 12: `libcamera-apps`) |
//! | `not found: ... finds no camera` | the ribbon cable; `rpicam-hello --list-cameras`; `camera_auto_detect=1` in `config.txt` |
//! | `bus: ... is in use` | another program uses the camera |
//! | `permission denied` | the user must be in group `video` |
//! | `timeout` | the cable, or a rate the sensor cannot reach |
//!
//! # Deliberately absent
//! Sound, H.264, exposure and the other fifty options.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use iotpi_core::{Camera, CameraSpec, Clock, DeviceError, DeviceErrorKind, Frame, async_trait};
use tokio::{
    io::{AsyncReadExt, BufReader},
    process::{Child, ChildStderr, ChildStdout, Command},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::mjpeg::Splitter;

/// The name of the program, and its name before 2024.
const PROGRAMS: [&str; 2] = ["rpicam-vid", "libcamera-vid"];
/// The size of one read, which is the capacity of a pipe.
const READ: usize = 64 * 1024;
/// The number of bytes of standard error that are kept.
const STDERR_TAIL_BYTES: usize = 2 * 1024;
/// The time a program that closed its output has to exit, and its last standard error to arrive.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings of the camera: 640 by 480 pixels, 15 frames a second, quality 80 by default.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RpicamConfig {
    /// The index of the camera in `rpicam-hello --list-cameras`.
    pub camera: u32,
    /// Width in pixels, 16 to 8,192. The program scales the image of the sensor.
    pub width: u32,
    /// Height in pixels, 16 to 8,192.
    pub height: u32,
    /// Frames a second, 0.1 to 240.
    pub fps: f64,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
    /// Mirrors the image horizontally.
    pub hflip: bool,
    /// Mirrors the image vertically. Both together rotate it by 180 degrees.
    pub vflip: bool,
    /// The path of the program; `None` searches `PATH` for `rpicam-vid`, then `libcamera-vid`.
    pub program: Option<PathBuf>,
    /// When the program is killed, and when it is restarted.
    pub timeouts: RpicamTimeouts,
}

/// RpicamTimeouts and back-off of the child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RpicamTimeouts {
    /// The program is killed when it writes no frame for this long and for five frame intervals. Default 8 s:
    /// the first frame of a Pi Zero takes four.
    pub no_frame: Duration,
    /// The first delay before a restart. It doubles with each consecutive failure. Default half a second.
    pub min_backoff: Duration,
    /// The maximum delay before a restart. Default 10 s.
    pub max_backoff: Duration,
}

impl Default for RpicamTimeouts {
    fn default() -> Self {
        Self {
            no_frame: Duration::from_secs(8),
            min_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(10),
        }
    }
}

impl Default for RpicamConfig {
    fn default() -> Self {
        Self {
            camera: 0,
            width: 640,
            height: 480,
            fps: 15.0,
            quality: 80,
            hflip: false,
            vflip: false,
            program: None,
            timeouts: RpicamTimeouts::default(),
        }
    }
}

impl RpicamConfig {
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = "--codec mjpeg --timeout 0 --nopreview --flush --output -"
            .split(' ')
            .map(str::to_owned)
            .collect();
        for (name, value) in [
            ("--camera", self.camera.to_string()),
            ("--width", self.width.to_string()),
            ("--height", self.height.to_string()),
            ("--framerate", self.fps.to_string()),
            ("--quality", self.quality.to_string()),
        ] {
            arguments.extend([name.to_owned(), value]);
        }
        let turned = [(self.hflip, "--hflip"), (self.vflip, "--vflip")];
        arguments.extend(turned.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| name.to_owned()));
        arguments
    }
}

/// The newest frame, or the error that ended the stream.
type Newest = Option<Result<Frame, Failed>>;

/// A [`DeviceError`] that can be cloned.
#[derive(Debug, Clone)]
struct Failed {
    kind: DeviceErrorKind,
    message: String,
}

impl Failed {
    fn new(kind: DeviceErrorKind, message: String) -> Self {
        Self { kind, message }
    }
}

/// A camera that reads frames from `rpicam-vid`.
///
/// ```no_run
/// use iotpi_core::{Camera, SystemClock};
/// use iotpi_hal::camera::rpicam::{Rpicam, RpicamConfig};
///
/// # async fn capture() -> Result<(), iotpi_core::DeviceError> {
/// let mut config = RpicamConfig::default();
/// (config.width, config.height, config.fps) = (1296, 972, 10.0);
/// let mut camera = Rpicam::open(config, SystemClock::shared())?;
/// let frame = camera.capture().await?;
/// println!("{} bytes", frame.jpeg().len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Rpicam {
    spec: CameraSpec,
    child: Arc<Supervised>,
    /// The sender is the supervisor task, which ends when this receiver is dropped.
    newest: Option<watch::Receiver<Newest>>,
}

impl Rpicam {
    /// Checks the settings and creates the camera. The first capture starts the program.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Refused`] outside the limits, [`DeviceErrorKind::NotFound`] when the program is not
    /// installed.
    pub fn open(config: RpicamConfig, clock: Arc<dyn Clock>) -> Result<Self, DeviceError> {
        let within = (16..=8192).contains(&config.width)
            && (16..=8192).contains(&config.height)
            && (0.1..=240.0).contains(&config.fps)
            && (1..=100).contains(&config.quality);
        if !within {
            return Err(DeviceError::new(
                DeviceErrorKind::Refused,
                "a camera has 16 to 8192 pixels a side, 0.1 to 240 frames a second, a quality of 1 to 100",
            ));
        }
        let program = match &config.program {
            Some(program) if program.is_file() => program.clone(),
            Some(program) => return Err(not_installed(program)),
            None => in_path().ok_or_else(|| not_installed(Path::new(PROGRAMS[0])))?,
        };
        let spec = CameraSpec::new(config.width, config.height, config.fps);
        Ok(Self { spec, child: Arc::new(Supervised { program, config, clock }), newest: None })
    }
}

#[async_trait]
impl Camera for Rpicam {
    fn spec(&self) -> CameraSpec {
        self.spec
    }

    async fn capture(&mut self) -> Result<Frame, DeviceError> {
        let newest = self.newest.get_or_insert_with(|| {
            let (frames, newest) = watch::channel(None);
            tokio::spawn(Arc::clone(&self.child).supervise(frames));
            newest
        });
        if newest.changed().await.is_err() {
            self.newest = None;
            return Err(DeviceError::new(
                DeviceErrorKind::Other,
                "the supervisor task of the camera has ended",
            ));
        }
        match newest.borrow_and_update().clone() {
            Some(Ok(frame)) => Ok(frame),
            Some(Err(Failed { kind, message })) => Err(DeviceError::new(kind, message)),
            None => Err(DeviceError::new(DeviceErrorKind::Other, "the camera has delivered no frame yet")),
        }
    }
}

/// The program and its configuration.
#[derive(Debug)]
struct Supervised {
    program: PathBuf,
    config: RpicamConfig,
    clock: Arc<dyn Clock>,
}

impl Supervised {
    /// Runs the program again and again until all receivers are dropped. The program has exited when this
    /// returns.
    async fn supervise(self: Arc<Self>, frames: watch::Sender<Newest>) {
        let RpicamTimeouts { min_backoff, max_backoff, .. } = self.config.timeouts;
        let mut wait = min_backoff;
        loop {
            let failed = match self.spawn() {
                Err(failed) => failed,
                Ok((mut child, stdout, stderr_tail)) => {
                    let ended = tokio::select! {
                        () = frames.closed() => None,
                        ended = self.pictures(stdout, &frames, &mut wait) => Some(ended),
                    };
                    let status = end(&mut child, matches!(ended, Some(EndReason::OutputClosed))).await;
                    let Some(ended) = ended else { return };
                    self.error(ended, status, &last_stderr_line(stderr_tail).await)
                }
            };
            frames.send_replace(Some(Err(failed)));
            tokio::select! {
                () = frames.closed() => return,
                () = sleep(wait) => wait = (2 * wait).min(max_backoff),
            }
        }
    }

    fn spawn(&self) -> Result<(Child, ChildStdout, JoinHandle<String>), Failed> {
        let mut command = Command::new(&self.program);
        command
            .args(self.config.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Also kills the program when the runtime shuts down and drops this task.
            .kill_on_drop(true);
        let name = self.program.display();
        let mut child = command.spawn().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                Failed::new(DeviceErrorKind::NotFound, format!("{name} is not installed any more"))
            }
            io::ErrorKind::PermissionDenied => {
                Failed::new(DeviceErrorKind::PermissionDenied, format!("{name} may not be run"))
            }
            _ => Failed::new(DeviceErrorKind::Other, format!("{name} cannot be started: {e}")),
        })?;
        match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), Some(stderr)) => Ok((child, stdout, tokio::spawn(last_line(stderr)))),
            _ => Err(Failed::new(DeviceErrorKind::Other, format!("{name} has no output"))),
        }
    }

    /// Publishes frames until the output ends. Each frame resets the back-off.
    async fn pictures(
        &self,
        mut stdout: ChildStdout,
        frames: &watch::Sender<Newest>,
        wait: &mut Duration,
    ) -> EndReason {
        let mut splitter = Splitter::default();
        let timeout = self.no_frame_timeout();
        let mut until = Instant::now() + timeout;
        loop {
            splitter.buffer().reserve(READ);
            match timeout_at(until, stdout.read_buf(splitter.buffer())).await {
                Err(_) => return EndReason::Silent,
                Ok(Ok(0)) => return EndReason::OutputClosed,
                Ok(Err(error)) => return EndReason::InvalidOutput(error.to_string()),
                Ok(Ok(_)) => {}
            }
            loop {
                let picture = match splitter.next() {
                    Ok(None) => break,
                    Ok(Some(jpeg)) => Frame::from_jpeg(jpeg, self.clock.now()),
                    Err(error) => Err(error),
                };
                match picture {
                    Ok(frame) => {
                        frames.send_replace(Some(Ok(frame)));
                        *wait = self.config.timeouts.min_backoff;
                        until = Instant::now() + timeout;
                    }
                    Err(error) => return EndReason::InvalidOutput(error.to_string()),
                }
            }
        }
    }

    fn no_frame_timeout(&self) -> Duration {
        let frames = Duration::try_from_secs_f64(5.0 / self.config.fps).unwrap_or_default();
        self.config.timeouts.no_frame.max(frames)
    }

    /// The error that explains why the stream of frames ended.
    fn error(&self, ended: EndReason, status: Option<ExitStatus>, stderr_tail: &str) -> Failed {
        let name = self.program.file_name().unwrap_or_default().display();
        let detail = if stderr_tail.is_empty() { String::new() } else { format!(": {stderr_tail}") };
        let lower = stderr_tail.to_lowercase();
        let (kind, message) = if lower.contains("no cameras available") {
            (DeviceErrorKind::NotFound, format!("{name} finds no camera{detail}"))
        } else if lower.contains("resource busy") || lower.contains("failed to acquire") {
            (DeviceErrorKind::Bus, format!("the camera is in use by another program{detail}"))
        } else if lower.contains("permission denied") {
            (DeviceErrorKind::PermissionDenied, format!("{name} may not use the camera{detail}"))
        } else {
            match ended {
                EndReason::Silent => (
                    DeviceErrorKind::Timeout,
                    format!(
                        "{name} gave no frame for {:.1} s{detail}",
                        self.no_frame_timeout().as_secs_f64()
                    ),
                ),
                EndReason::InvalidOutput(why) => {
                    (DeviceErrorKind::Other, format!("{name} wrote no JPEG frame ({why}){detail}"))
                }
                EndReason::OutputClosed => {
                    let how = status.map_or_else(|| "closed its output".to_owned(), |s| s.to_string());
                    (DeviceErrorKind::Other, format!("{name} ended ({how}){detail}"))
                }
            }
        };
        Failed::new(kind, message)
    }
}

/// Why the stream of frames ended.
#[derive(Debug)]
enum EndReason {
    /// No frame arrived within the timeout.
    Silent,
    /// The output was closed: the program has exited, or is about to.
    OutputClosed,
    /// The output is not a JPEG stream.
    InvalidOutput(String),
}

/// Waits for the program to exit, for a limited time if it may be exiting on its own; otherwise kills it.
async fn end(child: &mut Child, by_itself: bool) -> Option<ExitStatus> {
    if by_itself && let Ok(ended) = timeout(EXIT_TIMEOUT, child.wait()).await {
        return ended.ok();
    }
    // Waits for the exit. Fails only when the program has already exited.
    let _ = child.kill().await;
    None
}

/// The last line the program wrote to standard error.
async fn last_stderr_line(mut stderr_tail: JoinHandle<String>) -> String {
    match timeout(EXIT_TIMEOUT, &mut stderr_tail).await {
        Ok(Ok(line)) => line,
        // A process the program started may keep standard error open forever.
        Ok(Err(_)) | Err(_) => {
            stderr_tail.abort();
            String::new()
        }
    }
}

/// Reads standard error to its end, so that the program never blocks on it, and keeps the last line with
/// content.
async fn last_line(stderr: ChildStderr) -> String {
    let mut stderr = BufReader::new(stderr);
    let mut tail = Vec::with_capacity(2 * STDERR_TAIL_BYTES);
    while let Ok(1..) = stderr.read_buf(&mut tail).await {
        let surplus = tail.len().saturating_sub(STDERR_TAIL_BYTES);
        tail.drain(..surplus);
    }
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

fn in_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    PROGRAMS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|p| p.is_file())
}

fn not_installed(program: &Path) -> DeviceError {
    let message = format!("{} is not installed: `sudo apt install rpicam-apps`", program.display());
    DeviceError::new(DeviceErrorKind::NotFound, message)
}

#[cfg(test)]
#[path = "rpicam_tests.rs"]
mod tests;
