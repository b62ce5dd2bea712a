//! Camera modules on a Pi's ribbon cable (CSI), through `rpicam-vid`, which Raspberry Pi OS brings.
//!
//! The program runs as a child and writes JPEG pictures to a pipe. Only the newest is kept: who comes late sees what is now.
//! A child that ends, or gives no picture for some seconds, is killed and started again after a back-off; it is killed with
//! the camera. Pictures are stamped when their last byte has come, some milliseconds after they were taken.
//!
//! # Troubleshooting
//! | error | what to look at |
//! |---|---|
//! | `not found: ... not installed` | `sudo apt install rpicam-apps` (before Debian 12: `libcamera-apps`) |
//! | `not found: ... finds no camera` | the ribbon cable; `rpicam-hello --list-cameras`; `camera_auto_detect=1` in `config.txt` |
//! | `bus: ... is in use` | another program has the camera open |
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

/// Its name, and the one it had before 2024.
const PROGRAMS: [&str; 2] = ["rpicam-vid", "libcamera-vid"];
/// How much is read at once; a pipe holds as much.
const READ: usize = 64 * 1024;
/// How much of what the program complains about is kept.
const COMPLAINT: usize = 2 * 1024;
/// How long a program whose pictures have ended is given to end itself, and what it wrote last to arrive.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// What to ask of the camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Rpicam {
    /// Which camera, as `rpicam-hello --list-cameras` counts.
    pub camera: u32,
    /// Pixels, 16 to 8,192. The program scales what the sensor gives.
    pub width: u32,
    /// Pixels, 16 to 8,192.
    pub height: u32,
    /// Frames a second, 0.1 to 240.
    pub fps: f64,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
    /// Mirrors left and right.
    pub hflip: bool,
    /// Turns top and bottom over. Both together turn the picture by 180 degrees.
    pub vflip: bool,
    /// The program; `None` looks for `rpicam-vid`, then `libcamera-vid`, in `PATH`.
    pub program: Option<PathBuf>,
    /// When the program is given up, and when it is started again.
    pub patience: Timeouts,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Without a picture for so long, and for five frame times, the program is killed. Default 8 s: the first picture of a
    /// Pi Zero takes four.
    pub silent: Duration,
    /// The wait before it is started again; from failure to failure it doubles. Default half a second.
    pub least: Duration,
    /// The longest wait. Default 10 s.
    pub most: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            silent: Duration::from_secs(8),
            least: Duration::from_millis(500),
            most: Duration::from_secs(10),
        }
    }
}

impl Default for Rpicam {
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
            patience: Timeouts::default(),
        }
    }
}

impl Rpicam {
    /// The camera. The program is started by the first capture.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Refused`] outside the limits, [`DeviceErrorKind::NotFound`] without the program.
    pub fn open(self, clock: Arc<dyn Clock>) -> Result<RpicamVid, DeviceError> {
        let within = (16..=8192).contains(&self.width)
            && (16..=8192).contains(&self.height)
            && (0.1..=240.0).contains(&self.fps)
            && (1..=100).contains(&self.quality);
        if !within {
            return Err(DeviceError::new(
                DeviceErrorKind::Refused,
                "a camera has 16 to 8192 pixels a side, 0.1 to 240 frames a second, a quality of 1 to 100",
            ));
        }
        let program = match &self.program {
            Some(program) if program.is_file() => program.clone(),
            Some(program) => return Err(not_installed(program)),
            None => in_path().ok_or_else(|| not_installed(Path::new(PROGRAMS[0])))?,
        };
        let spec = CameraSpec { width: self.width, height: self.height, fps: self.fps };
        let child = Arc::new(Supervised { program, wish: self, clock });
        Ok(RpicamVid { spec, child, newest: None })
    }

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

/// The newest picture, or why there is none.
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

/// The camera.
#[derive(Debug)]
pub struct RpicamVid {
    spec: CameraSpec,
    child: Arc<Supervised>,
    /// Its sender is the task that supervises the program, and ends when this is dropped.
    newest: Option<watch::Receiver<Newest>>,
}

#[async_trait]
impl Camera for RpicamVid {
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
            return Err(DeviceError::new(DeviceErrorKind::Other, "what supervises the camera has ended"));
        }
        match newest.borrow_and_update().clone() {
            Some(Ok(frame)) => Ok(frame),
            Some(Err(Failed { kind, message })) => Err(DeviceError::new(kind, message)),
            None => Err(DeviceError::new(DeviceErrorKind::Other, "the camera has not said anything")),
        }
    }
}

/// The program, and how it is run.
#[derive(Debug)]
struct Supervised {
    program: PathBuf,
    wish: Rpicam,
    clock: Arc<dyn Clock>,
}

impl Supervised {
    /// Runs the program again and again until nobody is there who wants a picture. When this ends, the program has.
    async fn supervise(self: Arc<Self>, frames: watch::Sender<Newest>) {
        let Timeouts { least, most, .. } = self.wish.patience;
        let mut wait = least;
        loop {
            let failed = match self.spawn() {
                Err(failed) => failed,
                Ok((mut child, stdout, complaint)) => {
                    let ended = tokio::select! {
                        () = frames.closed() => None,
                        ended = self.pictures(stdout, &frames, &mut wait) => Some(ended),
                    };
                    let status = end(&mut child, matches!(ended, Some(EndReason::Output))).await;
                    let Some(ended) = ended else { return };
                    self.why(ended, status, &last_words(complaint).await)
                }
            };
            frames.send_replace(Some(Err(failed)));
            tokio::select! {
                () = frames.closed() => return,
                () = sleep(wait) => wait = (2 * wait).min(most),
            }
        }
    }

    fn spawn(&self) -> Result<(Child, ChildStdout, JoinHandle<String>), Failed> {
        let mut command = Command::new(&self.program);
        command
            .args(self.wish.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // When the runtime ends, and this task with it.
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

    /// Shows pictures until there are no more; with each the wait is short again.
    async fn pictures(
        &self,
        mut stdout: ChildStdout,
        frames: &watch::Sender<Newest>,
        wait: &mut Duration,
    ) -> EndReason {
        let mut splitter = Splitter::default();
        let silent = self.silent_after();
        let mut until = Instant::now() + silent;
        loop {
            splitter.buffer().reserve(READ);
            match timeout_at(until, stdout.read_buf(splitter.buffer())).await {
                Err(_) => return EndReason::Silent,
                Ok(Ok(0)) => return EndReason::Output,
                Ok(Err(error)) => return EndReason::Broken(error.to_string()),
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
                        *wait = self.wish.patience.least;
                        until = Instant::now() + silent;
                    }
                    Err(error) => return EndReason::Broken(error.to_string()),
                }
            }
        }
    }

    fn silent_after(&self) -> Duration {
        let frames = Duration::try_from_secs_f64(5.0 / self.wish.fps).unwrap_or_default();
        self.wish.patience.silent.max(frames)
    }

    /// Says in words why there are no pictures any more.
    fn why(&self, ended: EndReason, status: Option<ExitStatus>, complaint: &str) -> Failed {
        let name = self.program.file_name().unwrap_or_default().display();
        let said = if complaint.is_empty() { String::new() } else { format!(": {complaint}") };
        let lower = complaint.to_lowercase();
        let (kind, message) = if lower.contains("no cameras available") {
            (DeviceErrorKind::NotFound, format!("{name} finds no camera{said}"))
        } else if lower.contains("resource busy") || lower.contains("failed to acquire") {
            (DeviceErrorKind::Bus, format!("the camera is in use by another program{said}"))
        } else if lower.contains("permission denied") {
            (DeviceErrorKind::PermissionDenied, format!("{name} may not use the camera{said}"))
        } else {
            match ended {
                EndReason::Silent => (
                    DeviceErrorKind::Timeout,
                    format!("{name} gave no picture for {:.1} s{said}", self.silent_after().as_secs_f64()),
                ),
                EndReason::Broken(why) => {
                    (DeviceErrorKind::Other, format!("{name} wrote no picture ({why}){said}"))
                }
                EndReason::Output => {
                    let how = status.map_or_else(|| "closed its output".to_owned(), |s| s.to_string());
                    (DeviceErrorKind::Other, format!("{name} ended ({how}){said}"))
                }
            }
        };
        Failed::new(kind, message)
    }
}

/// Why there are no pictures any more.
#[derive(Debug)]
enum EndReason {
    /// None came in time.
    Silent,
    /// The output was closed: the program has ended, or is about to.
    Output,
    /// What came is no picture.
    Broken(String),
}

/// Waits for the program's end, for a moment if it may be ending itself, else kills it.
async fn end(child: &mut Child, by_itself: bool) -> Option<ExitStatus> {
    if by_itself && let Ok(ended) = timeout(LAST_WORDS_WITHIN, child.wait()).await {
        return ended.ok();
    }
    // Waits until it is gone. It fails only when it is already.
    let _ = child.kill().await;
    None
}

/// The last line it complained with.
async fn last_words(mut complaint: JoinHandle<String>) -> String {
    match timeout(LAST_WORDS_WITHIN, &mut complaint).await {
        Ok(Ok(line)) => line,
        // A program it started may hold its standard error open for ever.
        Ok(Err(_)) | Err(_) => {
            complaint.abort();
            String::new()
        }
    }
}

/// Reads to the end, so that the program is never held up, and keeps the last line that says anything.
async fn last_line(stderr: ChildStderr) -> String {
    let mut stderr = BufReader::new(stderr);
    let mut tail = Vec::with_capacity(2 * COMPLAINT);
    while let Ok(1..) = stderr.read_buf(&mut tail).await {
        let surplus = tail.len().saturating_sub(COMPLAINT);
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
