//! Tests of the camera with a shell script in place of `rpicam-vid`.

use std::{fs, os::unix::fs::PermissionsExt};

use iotpi_core::{SystemClock, Timestamp};

use super::*;
use crate::camera::testcard::TestCard;

/// The timeout of every wait in these tests.
const BOUND: Duration = Duration::from_secs(20);

/// A folder with a program, and frames `1.jpg` to `3.jpg` for it to write.
struct FakeProgram {
    folder: tempfile::TempDir,
    frames: Vec<bytes::Bytes>,
}

impl FakeProgram {
    /// A shell script. The frames are in its folder; the file `run` contains the number of starts, from 1.
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spec = CameraSpec::new(160, 120, 1.0);
        let mut card = TestCard::new(spec, SystemClock::shared()).unwrap();
        let frames: Vec<_> = (0..3).map(|_| card.paint(Timestamp::MIN).unwrap().jpeg().clone()).collect();
        for (number, jpeg) in frames.iter().enumerate() {
            fs::write(folder.path().join(format!("{}.jpg", number + 1)), jpeg).unwrap();
        }
        let file = folder.path().join("rpicam-vid");
        let counted = "cd \"$(dirname \"$0\")\"\necho x >>runs\nrun=$(wc -l <runs)\n";
        fs::write(&file, format!("#!/bin/sh\n{counted}{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, frames }
    }

    fn config(&self) -> RpicamConfig {
        RpicamConfig {
            program: Some(self.folder.path().join("rpicam-vid")),
            timeouts: RpicamTimeouts {
                no_frame: BOUND,
                min_backoff: Duration::from_millis(1),
                max_backoff: Duration::from_millis(2),
            },
            fps: 200.0,
            ..RpicamConfig::default()
        }
    }

    fn open(&self) -> Rpicam {
        Rpicam::open(self.config(), SystemClock::shared()).unwrap()
    }

    /// Whether the process with the id in the file `pid` exists, including a zombie.
    fn is_running(&self) -> bool {
        let pid = fs::read_to_string(self.folder.path().join("pid")).unwrap();
        Path::new("/proc").join(pid.trim()).exists()
    }
}

async fn next(camera: &mut Rpicam) -> Result<Frame, DeviceError> {
    timeout(BOUND, camera.capture()).await.expect("neither a frame nor an error")
}

/// The next frame, after any errors that precede it.
async fn next_frame(camera: &mut Rpicam) -> bytes::Bytes {
    let frame = async {
        loop {
            if let Ok(frame) = camera.capture().await {
                return frame.jpeg().clone();
            }
        }
    };
    timeout(BOUND, frame).await.expect("no frame")
}

#[tokio::test]
async fn a_capture_returns_the_newest_frame_of_the_program() {
    // The script writes the next frame only after the test has received the one before it.
    let fake = FakeProgram::new(
        "mkfifo received; for n in 1 2 3; do cat $n.jpg; read -r _ <received; done; exec sleep 600",
    );
    let mut camera = fake.open();

    let mut captured = Vec::new();
    for _ in 0..3 {
        captured.push(next(&mut camera).await.unwrap().jpeg().clone());
        let received = fake.folder.path().join("received");
        tokio::task::spawn_blocking(move || fs::write(received, "x\n")).await.unwrap().unwrap();
    }

    assert_eq!(captured, fake.frames);
}

#[tokio::test]
async fn the_program_gets_the_configured_options() {
    let fake = FakeProgram::new("echo \"$@\" >args; cat 1.jpg; exec sleep 600");
    let config = RpicamConfig {
        camera: 1,
        width: 1296,
        height: 972,
        fps: 7.5,
        quality: 60,
        hflip: true,
        ..fake.config()
    };
    let mut camera = Rpicam::open(config, SystemClock::shared()).unwrap();

    let frame = next(&mut camera).await.unwrap();

    let args = fs::read_to_string(fake.folder.path().join("args")).unwrap();
    assert_eq!(
        args.trim(),
        "--codec mjpeg --timeout 0 --nopreview --flush --output - --camera 1 --width 1296 --height 972 \
         --framerate 7.5 --quality 60 --hflip"
    );
    assert_eq!(camera.spec(), CameraSpec::new(1296, 972, 7.5));
    assert_eq!((frame.width(), frame.height()), (160, 120));
}

#[tokio::test]
async fn a_program_that_exits_within_a_frame_is_an_error_and_is_restarted() {
    let fake = FakeProgram::new(
        "if [ $run = 1 ]; then head -c 900 1.jpg; echo 'lost the sensor' >&2; exit 3; fi; cat 2.jpg; exec sleep 600",
    );
    let mut camera = fake.open();

    let error = next(&mut camera).await.unwrap_err();
    let frame = next_frame(&mut camera).await;

    assert_eq!(error.kind(), DeviceErrorKind::Other);
    assert!(error.to_string().contains("exit status: 3): lost the sensor"), "{error}");
    assert_eq!(frame, fake.frames[1]);
}

#[tokio::test]
async fn a_program_without_output_is_killed_and_restarted() {
    // The first run writes half a frame and keeps running.
    let fake = FakeProgram::new(
        "if [ $run = 1 ]; then echo $$ >pid; head -c 900 1.jpg; exec sleep 600; fi; cat 2.jpg; exec sleep 600",
    );
    let mut config = fake.config();
    config.timeouts.no_frame = Duration::from_millis(300);
    let mut camera = Rpicam::open(config, SystemClock::shared()).unwrap();

    let error = next(&mut camera).await.unwrap_err();
    let frame = next_frame(&mut camera).await;

    assert_eq!(error.kind(), DeviceErrorKind::Timeout, "{error}");
    assert_eq!(frame, fake.frames[1]);
    assert!(!fake.is_running());
}

#[tokio::test]
async fn the_program_ends_with_the_camera() {
    let fake = FakeProgram::new("echo $$ >pid; cat 1.jpg; exec sleep 600");
    let mut camera = fake.open();
    next(&mut camera).await.unwrap();
    assert!(fake.is_running());

    drop(camera);

    let exited = async {
        while fake.is_running() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(BOUND, exited).await.expect("the program still runs");
}

#[tokio::test]
async fn a_full_standard_error_does_not_block_the_program() {
    let fake = FakeProgram::new(
        "i=0; while [ $i -lt 40 ]; do cat 1.jpg 2.jpg 3.jpg >&2; i=$((i + 1)); done; cat 3.jpg; exec sleep 600",
    );
    let mut camera = fake.open();

    assert_eq!(next(&mut camera).await.unwrap().jpeg(), &fake.frames[2]);
}

#[tokio::test]
async fn the_error_kind_follows_from_the_output_of_the_program() {
    for (stderr_tail, kind) in [
        ("ERROR: *** no cameras available ***", DeviceErrorKind::NotFound),
        ("Pipeline handler in use: failed to acquire camera", DeviceErrorKind::Bus),
        ("/dev/media0: Permission denied", DeviceErrorKind::PermissionDenied),
        ("unrecognised option '--flush'", DeviceErrorKind::Other),
    ] {
        let fake =
            FakeProgram::new(&format!("echo 'INFO starting' >&2; echo \"{stderr_tail}\" >&2; exit 255"));
        let mut camera = fake.open();

        let error = next(&mut camera).await.unwrap_err();

        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(stderr_tail), "{error}");
    }
}

#[tokio::test]
async fn an_invalid_frame_is_an_error() {
    // Start of image, a scan without a frame header, end of image.
    let fake = FakeProgram::new(
        "[ $run = 1 ] && printf '\\377\\330\\377\\332\\000\\002\\377\\331'; cat 2.jpg; exec sleep 600",
    );
    let mut camera = fake.open();

    let error = next(&mut camera).await.unwrap_err();

    assert!(error.to_string().contains("no frame header"), "{error}");
    assert_eq!(next_frame(&mut camera).await, fake.frames[1]);
}

#[test]
fn the_error_for_a_missing_program_says_what_to_install() {
    let config = RpicamConfig { program: Some("/nowhere/rpicam-vid".into()), ..RpicamConfig::default() };

    let error = Rpicam::open(config, SystemClock::shared()).unwrap_err();

    assert_eq!(error.kind(), DeviceErrorKind::NotFound);
    assert!(error.to_string().contains("apt install rpicam-apps"), "{error}");
}

#[tokio::test]
async fn a_program_that_is_removed_while_it_runs_is_not_found() {
    let fake = FakeProgram::new("rm rpicam-vid; cat 1.jpg; exit 0");
    let mut camera = fake.open();

    let missing = async {
        loop {
            match camera.capture().await {
                Err(error) if error.kind() == DeviceErrorKind::NotFound => return,
                _ => {}
            }
        }
    };
    timeout(BOUND, missing).await.expect("the program is still found");
}

#[test]
fn impossible_settings_are_refused() {
    let usual = RpicamConfig::default;
    for config in [
        RpicamConfig { width: 0, ..usual() },
        RpicamConfig { height: 9000, ..usual() },
        RpicamConfig { fps: f64::NAN, ..usual() },
        RpicamConfig { quality: 0, ..usual() },
    ] {
        assert_eq!(Rpicam::open(config, SystemClock::shared()).unwrap_err().kind(), DeviceErrorKind::Refused);
    }
}
