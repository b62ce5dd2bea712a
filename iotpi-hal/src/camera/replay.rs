//! Recorded frames in an endless loop: a folder of JPEG files, or one MJPEG file (concatenated JPEGs).
//!
//! `ffmpeg -i video.mp4 -c:v mjpeg -q:v 5 -an video.mjpeg` creates one. Deliberately absent: containers (AVI,
//! MP4) and the recorded timing: frames come at the rate of the settings, stamped with the time they are
//! captured from the file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use iotpi_core::{Camera, CameraSpec, Clock, DeviceError, DeviceErrorKind, Frame, async_trait};

use super::{frame_interval::FrameInterval, mjpeg::split};

/// The replay camera.
///
/// ```no_run
/// use iotpi_core::{CameraModule, SystemClock};
/// use iotpi_hal::camera::replay::Replay;
///
/// let camera = Replay::open("recorded.mjpeg".as_ref(), 12.0, SystemClock::shared())?;
/// let module = CameraModule::new(camera);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Replay {
    spec: CameraSpec,
    clock: Arc<dyn Clock>,
    pace: FrameInterval,
    pictures: FrameSource,
    next: usize,
}

#[derive(Debug)]
enum FrameSource {
    /// The files are read one at a time, because a folder may be large.
    Files(Vec<PathBuf>),
    /// Frames of one file that was read once.
    Parts(Vec<Bytes>),
}

impl Replay {
    /// The frames of a folder in the order of their file names (`.jpg`, `.jpeg`), or of an MJPEG file, at 0.1
    /// to 60 frames a second.
    ///
    /// # Errors
    /// - [`DeviceErrorKind::NotFound`]: the path does not exist, or contains no frame.
    /// - [`DeviceErrorKind::PermissionDenied`]: the path may not be read.
    /// - [`DeviceErrorKind::Refused`]: the rate is outside the limits.
    pub fn open(path: &Path, fps: f64, clock: Arc<dyn Clock>) -> Result<Self, DeviceError> {
        if !(0.1..=60.0).contains(&fps) {
            return Err(DeviceError::new(
                DeviceErrorKind::Refused,
                "the frame rate must be 0.1 to 60 frames a second",
            ));
        }
        let failed = |e: io::Error| read_error(path, e);
        let pictures = if path.is_dir() {
            FrameSource::Files(jpeg_files(path).map_err(failed)?)
        } else {
            FrameSource::Parts(split(&Bytes::from(fs::read(path).map_err(failed)?)))
        };
        let first = pictures.get(0).map_err(failed)?;
        let first = first.and_then(|jpeg| Frame::from_jpeg(jpeg, clock.now()).ok()).ok_or_else(|| {
            DeviceError::new(DeviceErrorKind::NotFound, format!("no JPEG frame in {}", path.display()))
        })?;
        let spec = CameraSpec::new(first.width(), first.height(), fps);
        Ok(Self { spec, clock, pace: FrameInterval::new(fps), pictures, next: 0 })
    }
}

#[async_trait]
impl Camera for Replay {
    fn spec(&self) -> CameraSpec {
        self.spec
    }

    async fn capture(&mut self) -> Result<Frame, DeviceError> {
        self.pace.tick().await;
        let at = self.next % self.pictures.len().max(1);
        self.next = at + 1;
        // A file of some 100 KB that is most likely in the page cache: not worth a blocking thread.
        let jpeg =
            self.pictures.get(at).map_err(|e| read_error(&self.pictures.name(at), e))?.unwrap_or_default();
        Frame::from_jpeg(jpeg, self.clock.now()).map_err(|e| {
            let message = format!("{} is not a JPEG frame", self.pictures.name(at).display());
            DeviceError::new(DeviceErrorKind::Other, message).with_source(e)
        })
    }
}

impl FrameSource {
    fn len(&self) -> usize {
        match self {
            Self::Files(files) => files.len(),
            Self::Parts(parts) => parts.len(),
        }
    }

    fn get(&self, at: usize) -> io::Result<Option<Bytes>> {
        match self {
            Self::Files(files) => files.get(at).map(|file| fs::read(file).map(Bytes::from)).transpose(),
            Self::Parts(parts) => Ok(parts.get(at).cloned()),
        }
    }

    fn name(&self, at: usize) -> PathBuf {
        match self {
            Self::Files(files) => files.get(at).cloned().unwrap_or_default(),
            Self::Parts(_) => PathBuf::from(format!("part {at} of the file")),
        }
    }
}

fn jpeg_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_jpeg = |path: &PathBuf| {
        path.extension().is_some_and(|e| e.eq_ignore_ascii_case("jpg") || e.eq_ignore_ascii_case("jpeg"))
    };
    let mut files: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .filter(|path| path.as_ref().map_or(true, is_jpeg))
        .collect::<io::Result<_>>()?;
    files.sort();
    Ok(files)
}

fn read_error(path: &Path, error: io::Error) -> DeviceError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => DeviceErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => DeviceErrorKind::PermissionDenied,
        _ => DeviceErrorKind::Other,
    };
    DeviceError::new(kind, format!("{} cannot be read", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use iotpi_core::{Timestamp, time::ManualClock};

    use super::*;
    use crate::camera::testcard::TestCard;

    fn clock() -> Arc<ManualClock> {
        ManualClock::at(Timestamp::MIN)
    }

    fn pictures(count: usize) -> Vec<Bytes> {
        let mut card = TestCard::new(CameraSpec::new(160, 120, 1.0), clock()).unwrap();
        (0..count).map(|_| card.paint(Timestamp::MIN).unwrap().jpeg().clone()).collect()
    }

    async fn next(camera: &mut Replay) -> Bytes {
        camera.capture().await.unwrap().jpeg().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_is_replayed_in_the_order_of_names_in_a_loop() {
        let folder = tempfile::tempdir().unwrap();
        let pictures = pictures(2);
        fs::write(folder.path().join("b.JPEG"), &pictures[1]).unwrap();
        fs::write(folder.path().join("a.jpg"), &pictures[0]).unwrap();
        fs::write(folder.path().join("notes.txt"), "not a picture").unwrap();

        let mut camera = Replay::open(folder.path(), 10.0, clock()).unwrap();
        let shown = [next(&mut camera).await, next(&mut camera).await, next(&mut camera).await];

        assert_eq!(camera.spec(), CameraSpec::new(160, 120, 10.0));
        assert_eq!(shown, [pictures[0].clone(), pictures[1].clone(), pictures[0].clone()]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_mjpeg_file_is_split_into_its_complete_frames() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("video.mjpeg");
        let pictures = pictures(3);
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&pictures[0]);
        bytes.extend_from_slice(b"\0\0padding");
        bytes.extend_from_slice(&pictures[1]);
        bytes.extend_from_slice(&pictures[2][..pictures[2].len() / 2]);
        fs::write(&file, bytes).unwrap();

        let mut camera = Replay::open(&file, 10.0, clock()).unwrap();
        let shown = [next(&mut camera).await, next(&mut camera).await, next(&mut camera).await];

        assert_eq!(shown, [pictures[0].clone(), pictures[1].clone(), pictures[0].clone()]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_file_is_an_error_and_the_next_one_follows() {
        let folder = tempfile::tempdir().unwrap();
        let pictures = pictures(2);
        fs::write(folder.path().join("a.jpg"), &pictures[0]).unwrap();
        fs::write(folder.path().join("b.jpg"), &pictures[1]).unwrap();
        let mut camera = Replay::open(folder.path(), 10.0, clock()).unwrap();

        fs::remove_file(folder.path().join("a.jpg")).unwrap();

        assert_eq!(camera.capture().await.unwrap_err().kind(), DeviceErrorKind::NotFound);
        assert_eq!(next(&mut camera).await, pictures[1]);
    }

    #[test]
    fn a_folder_without_a_jpeg_is_refused() {
        let folder = tempfile::tempdir().unwrap();

        for path in [folder.path().to_owned(), folder.path().join("absent.mjpeg")] {
            assert_eq!(Replay::open(&path, 10.0, clock()).unwrap_err().kind(), DeviceErrorKind::NotFound);
        }
    }
}
