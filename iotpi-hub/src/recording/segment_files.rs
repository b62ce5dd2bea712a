//! The segment files of a camera: assigns frames to segments and makes them durable. All functions block.
//!
//! Durability order: the frames are written, the file is synced, and only then are the frames ready to be
//! indexed.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use iotpi_core::{ModuleId, Timestamp};

use super::{
    frame_buffer::BufferedFrame,
    segment::{self, HEAD, Origin, RecordHead, SegmentWriter},
};
use crate::{
    maintenance::Machine,
    store::{FrameLocation, IndexedFrames},
};

/// Maximum size of a segment. A camera with little space gets smaller segments, so that expiry never removes
/// all of its recordings at once.
const MAX_BYTES: u64 = 64 << 20;
const MIN_SEGMENTS: u64 = 8;
/// Frames whose capture times step back by less than this stay in one segment, in the order of their arrival.
const MAX_BACKWARD_STEP: Duration = Duration::from_secs(2);

/// A recording session: one clip, recorded without a pause.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) reason: String,
    /// The name of its first segment, which identifies the clip.
    name: OnceLock<String>,
}

impl Session {
    pub(crate) fn new(reason: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { reason: reason.into(), name: OnceLock::new() })
    }
}

/// Maximum size and duration of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentLimits {
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

impl SegmentLimits {
    pub(crate) fn new(keep_bytes: u64, time: Duration) -> Self {
        Self { bytes: MAX_BYTES.min(keep_bytes / MIN_SEGMENTS), time }
    }
}

/// Frames to write, and what to do afterwards.
#[derive(Debug)]
pub(crate) struct WriteJob {
    pub(crate) frames: Vec<BufferedFrame<Arc<Session>>>,
    /// Whether everything is synced afterwards.
    pub(crate) sync: bool,
    /// Whether the segment is closed afterwards.
    pub(crate) close: bool,
    pub(crate) limits: SegmentLimits,
    pub(crate) now: Timestamp,
}

/// Result of a write.
#[derive(Debug, Default)]
pub(crate) struct WriteOutcome {
    /// Frames that could not be recorded.
    pub(crate) lost: u64,
    /// Why the write failed.
    pub(crate) error: Option<WriteError>,
}

/// Why frames could not be recorded.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Free space in bytes, which is less than the reserve for readings.
    LowSpace(u64),
    /// The operating system reported an error.
    Failed(io::Error),
    /// The frames could not be indexed.
    Index(crate::store::StoreError),
}

/// The segment files of a camera.
#[derive(Debug)]
pub(crate) struct SegmentFiles {
    folder: PathBuf,
    module_id: ModuleId,
    machine: Machine,
    /// Free space in bytes below which recording is paused.
    reserve: u64,
    was_out: bool,
    open: Option<OpenSegment>,
    /// Durable frames that are not indexed yet.
    pub(crate) ready: Vec<IndexedFrames>,
}

#[derive(Debug)]
struct OpenSegment {
    writer: SegmentWriter,
    name: String,
    clip: String,
    session: Arc<Session>,
    first_at: Timestamp,
    last_at: Timestamp,
    /// Frames that may not be durable yet.
    unsynced: Vec<FrameLocation>,
    /// Whether a frame was appended.
    has_any: bool,
}

impl SegmentFiles {
    /// `mark` is the hub's low-water mark. The reserve is a quarter more, so that recording pauses before
    /// readings are evicted.
    pub(crate) fn new(folder: PathBuf, module_id: ModuleId, machine: Machine, mark: u64) -> Self {
        let reserve = mark.saturating_add(mark / 4);
        Self { folder, module_id, machine, reserve, was_out: false, open: None, ready: Vec::new() }
    }

    /// Name of the segment that is being written.
    pub(crate) fn open_name(&self) -> Option<&str> {
        self.open.as_ref().map(|open| open.name.as_str())
    }

    /// Whether there are frames to sync or to index.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.ready.is_empty() || self.unsynced() > 0
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The number of frames that may not be durable yet.
    fn unsynced(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.unsynced.len())
    }

    /// Runs the job. Synced frames are in [`Self::ready`] afterwards.
    pub(crate) fn work(&mut self, job: WriteJob) -> WriteOutcome {
        let mut lost = job.frames.len() as u64;
        let worked = self.write(job, &mut lost);
        let Err(error) = worked else { return WriteOutcome::default() };
        // The frames already written are kept in a segment that does not grow any more.
        let unsynced = self.unsynced() as u64;
        if self.close().is_err() {
            lost += unsynced;
        }
        WriteOutcome { lost, error: Some(error) }
    }

    fn write(&mut self, job: WriteJob, lost: &mut u64) -> Result<(), WriteError> {
        self.check_free_space()?;
        let mut batch: Vec<(RecordHead, bytes::Bytes)> = Vec::new();
        let mut batch_bytes = 0;
        for buffered in job.frames {
            let published = &buffered.published;
            let jpeg = published.frame.jpeg();
            let bytes = HEAD as u64 + jpeg.len() as u64;
            let mut at = published.captured_at;
            let fits = self.open.as_ref().is_some_and(|open| {
                if at <= open.last_at && open.last_at.since(at) <= MAX_BACKWARD_STEP {
                    at = open.last_at.plus(Duration::from_micros(1));
                }
                Arc::ptr_eq(&open.session, &buffered.session)
                    && at > open.last_at
                    && at.since(open.first_at) <= job.limits.time
                    && open.writer.end() + batch_bytes + bytes <= job.limits.bytes.max(bytes)
            });
            if !fits {
                self.append(&mut batch, lost)?;
                batch_bytes = 0;
                self.close().map_err(WriteError::Failed)?;
                self.begin(&buffered.session, at, job.now).map_err(WriteError::Failed)?;
            }
            if let Some(open) = &mut self.open {
                open.last_at = at;
            }
            batch_bytes += bytes;
            let head = RecordHead {
                length: u32::try_from(jpeg.len()).unwrap_or(u32::MAX),
                captured_at: at,
                received_at: published.received_at,
                seq: published.seq,
                jpeg_crc: crc32fast::hash(jpeg),
            };
            batch.push((head, jpeg.clone()));
        }
        self.append(&mut batch, lost)?;
        if job.close {
            self.close().map_err(WriteError::Failed)
        } else if job.sync {
            self.sync().map_err(WriteError::Failed)
        } else {
            Ok(())
        }
    }

    fn check_free_space(&mut self) -> Result<(), WriteError> {
        if self.reserve == 0 {
            return Ok(());
        }
        let free = self.machine.free_bytes(&self.folder.join("segment")).map_err(WriteError::Failed)?;
        // Hysteresis: recording resumes only when there is an eighth more free space than the reserve.
        let wanted = if self.was_out { self.reserve + self.reserve / 8 } else { self.reserve };
        self.was_out = free < wanted;
        if self.was_out { Err(WriteError::LowSpace(free)) } else { Ok(()) }
    }

    fn begin(&mut self, session: &Arc<Session>, at: Timestamp, now: Timestamp) -> io::Result<()> {
        // A name is never used twice: not after the clock was set back, and not after the database was
        // replaced.
        let drawn = getrandom::u32().map_err(io::Error::other)?;
        let name = format!("{:016}-{drawn:08x}", now.as_micros());
        let clip = session.name.get_or_init(|| name.clone()).clone();
        let origin =
            Origin { module_id: self.module_id.clone(), clip: clip.clone(), reason: session.reason.clone() };
        let path = segment::path(&self.folder, &self.module_id, &name);
        let writer = SegmentWriter::create(&path, &origin)?;
        let session = Arc::clone(session);
        let last_at = at.minus(Duration::from_micros(1));
        let unsynced = Vec::new();
        self.open = Some(OpenSegment {
            writer,
            name,
            clip,
            session,
            first_at: at,
            last_at,
            unsynced,
            has_any: false,
        });
        Ok(())
    }

    fn append(
        &mut self,
        batch: &mut Vec<(RecordHead, bytes::Bytes)>,
        lost: &mut u64,
    ) -> Result<(), WriteError> {
        let Some(open) = self.open.as_mut().filter(|_| !batch.is_empty()) else { return Ok(()) };
        let locations = open.writer.append(batch).map_err(WriteError::Failed)?;
        *lost -= locations.len() as u64;
        open.unsynced.extend(locations);
        open.has_any = true;
        batch.clear();
        Ok(())
    }

    /// Makes written frames durable. A failed sync is not repeated: after it, the page cache no longer tells
    /// what is on disk.
    fn sync(&mut self) -> io::Result<()> {
        let Some(open) = self.open.as_mut().filter(|open| !open.unsynced.is_empty()) else { return Ok(()) };
        let frames = std::mem::take(&mut open.unsynced);
        open.writer.sync()?;
        let indexed = IndexedFrames {
            module_id: self.module_id.clone(),
            segment: open.name.clone(),
            clip: open.clip.clone(),
            reason: open.session.reason.clone(),
            frames,
            end: open.writer.end(),
        };
        self.ready.push(indexed);
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        let synced = self.sync();
        if let Some(open) = self.open.take().filter(|open| !open.has_any) {
            let _ = fs::remove_file(segment::path(&self.folder, &self.module_id, &open.name));
        }
        synced
    }
}

#[cfg(test)]
mod tests {
    use iotpi_core::Frame;

    use super::*;
    use crate::recording::frame_buffer::tests::published;

    fn buffered(session: &Arc<Session>, millis: i64, bytes: usize) -> BufferedFrame<Arc<Session>> {
        let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8, 3];
        jpeg.resize(bytes - 2, 0x55);
        jpeg.extend([0xFF, 0xD9]);
        let at = Timestamp::from_micros(1_795_473_000_000_000 + millis * 1000);
        let frame = Frame::from_jpeg(jpeg.into(), at).unwrap();
        BufferedFrame { published: published(frame, at), came: Duration::ZERO, session: Arc::clone(session) }
    }

    fn files(folder: &tempfile::TempDir) -> SegmentFiles {
        SegmentFiles::new(folder.path().to_owned(), ModuleId::new("porch").unwrap(), Machine::default(), 0)
    }

    fn job(frames: Vec<BufferedFrame<Arc<Session>>>) -> WriteJob {
        let limits = SegmentLimits { bytes: 10_000, time: Duration::from_secs(600) };
        WriteJob {
            frames,
            sync: true,
            close: false,
            limits,
            now: Timestamp::from_micros(1_795_473_000_000_000),
        }
    }

    fn lengths(files: &SegmentFiles) -> Vec<usize> {
        files.ready.iter().map(|indexed| indexed.frames.len()).collect()
    }

    #[test]
    fn a_segment_ends_when_it_is_long_or_old_or_another_clip_begins() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(&folder);
        let (first, second) = (Session::new("continuous"), Session::new("door"));

        let done = files.work(job(vec![
            buffered(&first, 0, 4000),
            buffered(&first, 100, 4000),
            // Exceeds the size.
            buffered(&first, 200, 4000),
            // Exceeds the duration.
            buffered(&first, 600_300, 100),
            buffered(&second, 600_400, 100),
            // A frame larger than a segment may be has a segment of its own.
            buffered(&second, 600_500, 20_000),
            buffered(&second, 600_600, 100),
        ]));

        assert!(done.error.is_none() && done.lost == 0, "{done:?}");
        assert_eq!(lengths(&files), [2, 1, 1, 1, 1, 1]);
        let clips: Vec<_> = files.ready.iter().map(|indexed| indexed.clip.as_str()).collect();
        assert!(clips[..3].iter().all(|name| *name == files.ready[0].segment), "{clips:?}");
        assert!(clips[3..].iter().all(|name| *name == files.ready[3].segment), "{clips:?}");
    }

    #[test]
    fn times_rise_within_a_segment_and_a_clock_set_back_begins_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(&folder);
        let session = Session::new("continuous");

        files.work(job(vec![
            buffered(&session, 5000, 100),
            buffered(&session, 5000, 100),
            buffered(&session, 4000, 100),
            buffered(&session, 0, 100),
        ]));

        assert_eq!(lengths(&files), [3, 1]);
        let micros: Vec<_> =
            files.ready[0].frames.iter().map(|location| location.at.as_micros() % 1000).collect();
        assert_eq!(micros, [0, 1, 2]);
    }

    #[test]
    fn nothing_is_written_when_too_little_is_free_and_a_segment_without_a_frame_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::default().with_free_bytes(|_| Ok(1_249));
        let mut files =
            SegmentFiles::new(folder.path().to_owned(), ModuleId::new("porch").unwrap(), machine, 1_000);
        let session = Session::new("continuous");

        let done = files.work(job(vec![buffered(&session, 0, 100)]));

        assert!(matches!(done.error, Some(WriteError::LowSpace(1_249))), "{done:?}");
        assert_eq!((done.lost, files.ready.len()), (1, 0));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
