//! A camera's files: which frame goes into which, and when they are on the disk. Everything here blocks.
//!
//! The order: the frames are written, the file is synced, and only then is it said what can be indexed.

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
    storage::Machine,
    store::{FrameLocation, IndexedFrames},
};

/// A segment is no longer than this. One of a camera that may keep little is shorter, so that what goes is not all there is.
const MOST_BYTES: u64 = 64 << 20;
const ONE_IN: u64 = 8;
/// Frames of a camera whose clock was corrected by less keep their order.
const MAY_BE_EARLIER: Duration = Duration::from_secs(2);

/// A stretch: what is recorded without a pause.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) reason: String,
    /// That of its first segment.
    name: OnceLock<String>,
}

impl Session {
    pub(super) fn new(reason: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { reason: reason.into(), name: OnceLock::new() })
    }
}

/// How long a segment may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) bytes: u64,
    pub(super) time: Duration,
}

impl Limits {
    pub(super) fn new(keep_bytes: u64, time: Duration) -> Self {
        Self { bytes: MOST_BYTES.min(keep_bytes / ONE_IN), time }
    }
}

/// What is to be done in one go.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) frames: Vec<BufferedFrame<Arc<Session>>>,
    /// Whether all is to be on the disk then.
    pub(super) sync: bool,
    /// Whether nothing follows.
    pub(super) close: bool,
    pub(super) limits: Limits,
    pub(super) now: Timestamp,
}

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct JobOutcome {
    /// Frames that are not recorded.
    pub(super) lost: u64,
    /// Why.
    pub(super) trouble: Option<WriteError>,
}

/// Why frames could not be recorded.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Less is free than readings need, in bytes.
    NoRoom(u64),
    /// The system said so.
    Failed(io::Error),
    /// It could not be indexed.
    Index(crate::store::StoreError),
}

/// A camera's files.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    module_id: ModuleId,
    machine: Machine,
    /// Recording stops when less is free.
    reserve: u64,
    was_out: bool,
    open: Option<Open>,
    /// What is on the disk and not indexed.
    pub(super) ready: Vec<IndexedFrames>,
}

#[derive(Debug)]
struct Open {
    writer: SegmentWriter,
    name: String,
    stretch: String,
    tag: Arc<Session>,
    first_at: Timestamp,
    last_at: Timestamp,
    /// Frames that may not be on the disk yet.
    unsynced: Vec<FrameLocation>,
    /// Whether it has a frame.
    has_any: bool,
}

impl Files {
    /// `mark` is the hub's low-water mark: a quarter more than it has to stay free, so that recording stops before readings
    /// are thinned out.
    pub(super) fn new(folder: PathBuf, module_id: ModuleId, machine: Machine, mark: u64) -> Self {
        let reserve = mark.saturating_add(mark / 4);
        Self { folder, module_id, machine, reserve, was_out: false, open: None, ready: Vec::new() }
    }

    /// The segment that grows.
    pub(super) fn open_name(&self) -> Option<&str> {
        self.open.as_ref().map(|open| open.name.as_str())
    }

    /// Whether there is something to sync or to index.
    pub(super) fn is_dirty(&self) -> bool {
        !self.ready.is_empty() || self.unsynced() > 0
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How many frames may not be on the disk yet.
    fn unsynced(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.unsynced.len())
    }

    /// Does it. What was synced is in [`Self::ready`] then.
    pub(super) fn work(&mut self, job: Job) -> JobOutcome {
        let mut lost = job.frames.len() as u64;
        let worked = self.write(job, &mut lost);
        let Err(trouble) = worked else { return JobOutcome::default() };
        // What is written is kept, in a segment that grows no more.
        let unsynced = self.unsynced() as u64;
        if self.close().is_err() {
            lost += unsynced;
        }
        JobOutcome { lost, trouble: Some(trouble) }
    }

    fn write(&mut self, job: Job, lost: &mut u64) -> Result<(), WriteError> {
        self.check_room()?;
        let mut batch: Vec<(RecordHead, bytes::Bytes)> = Vec::new();
        let mut batch_bytes = 0;
        for held in job.frames {
            let shown = &held.shown;
            let jpeg = shown.frame.jpeg();
            let bytes = HEAD as u64 + jpeg.len() as u64;
            let mut at = shown.captured_at;
            let fits = self.open.as_ref().is_some_and(|open| {
                if at <= open.last_at && open.last_at.since(at) <= MAY_BE_EARLIER {
                    at = open.last_at.plus(Duration::from_micros(1));
                }
                Arc::ptr_eq(&open.tag, &held.tag)
                    && at > open.last_at
                    && at.since(open.first_at) <= job.limits.time
                    && open.writer.end() + batch_bytes + bytes <= job.limits.bytes.max(bytes)
            });
            if !fits {
                self.append(&mut batch, lost)?;
                batch_bytes = 0;
                self.close().map_err(WriteError::Failed)?;
                self.begin(&held.tag, at, job.now).map_err(WriteError::Failed)?;
            }
            if let Some(open) = &mut self.open {
                open.last_at = at;
            }
            batch_bytes += bytes;
            let head = RecordHead {
                length: u32::try_from(jpeg.len()).unwrap_or(u32::MAX),
                captured_at: at,
                received_at: shown.received_at,
                seq: shown.seq,
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

    fn check_room(&mut self) -> Result<(), WriteError> {
        if self.reserve == 0 {
            return Ok(());
        }
        let free = self.machine.free_bytes(&self.folder.join("segment")).map_err(WriteError::Failed)?;
        // Once out of room it takes some more to go on, so that it does not change with every frame.
        let wanted = if self.was_out { self.reserve + self.reserve / 8 } else { self.reserve };
        self.was_out = free < wanted;
        if self.was_out { Err(WriteError::NoRoom(free)) } else { Ok(()) }
    }

    fn begin(&mut self, tag: &Arc<Session>, at: Timestamp, now: Timestamp) -> io::Result<()> {
        // Never given twice: not after the clock was set back, and not by a hub that began with a new database.
        let drawn = getrandom::u32().map_err(io::Error::other)?;
        let name = format!("{:016}-{drawn:08x}", now.as_micros());
        let stretch = tag.name.get_or_init(|| name.clone()).clone();
        let origin = Origin {
            module_id: self.module_id.clone(),
            stretch: stretch.clone(),
            reason: tag.reason.clone(),
        };
        let path = segment::path(&self.folder, &self.module_id, &name);
        let writer = SegmentWriter::create(&path, &origin)?;
        let tag = Arc::clone(tag);
        let last_at = at.minus(Duration::from_micros(1));
        let unsynced = Vec::new();
        self.open =
            Some(Open { writer, name, stretch, tag, first_at: at, last_at, unsynced, has_any: false });
        Ok(())
    }

    fn append(
        &mut self,
        batch: &mut Vec<(RecordHead, bytes::Bytes)>,
        lost: &mut u64,
    ) -> Result<(), WriteError> {
        let Some(open) = self.open.as_mut().filter(|_| !batch.is_empty()) else { return Ok(()) };
        let spots = open.writer.append(batch).map_err(WriteError::Failed)?;
        *lost -= spots.len() as u64;
        open.unsynced.extend(spots);
        open.has_any = true;
        batch.clear();
        Ok(())
    }

    /// After this, what was written can be indexed. A failed sync is not tried again: what the kernel then still has of the
    /// file is not what is on the disk.
    fn sync(&mut self) -> io::Result<()> {
        let Some(open) = self.open.as_mut().filter(|open| !open.unsynced.is_empty()) else { return Ok(()) };
        let frames = std::mem::take(&mut open.unsynced);
        open.writer.sync()?;
        let footage = IndexedFrames {
            module_id: self.module_id.clone(),
            segment: open.name.clone(),
            stretch: open.stretch.clone(),
            reason: open.tag.reason.clone(),
            frames,
            end: open.writer.end(),
        };
        self.ready.push(footage);
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
    use crate::recording::frame_buffer::tests::shown;

    fn held(tag: &Arc<Session>, millis: i64, bytes: usize) -> BufferedFrame<Arc<Session>> {
        let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8, 3];
        jpeg.resize(bytes - 2, 0x55);
        jpeg.extend([0xFF, 0xD9]);
        let at = Timestamp::from_micros(1_795_473_000_000_000 + millis * 1000);
        let frame = Frame::from_jpeg(jpeg.into(), at).unwrap();
        BufferedFrame { shown: shown(frame, at), came: Duration::ZERO, tag: Arc::clone(tag) }
    }

    fn files(folder: &tempfile::TempDir) -> Files {
        Files::new(folder.path().to_owned(), ModuleId::new("porch").unwrap(), Machine::default(), 0)
    }

    fn job(frames: Vec<BufferedFrame<Arc<Session>>>) -> Job {
        let limits = Limits { bytes: 10_000, time: Duration::from_secs(600) };
        Job { frames, sync: true, close: false, limits, now: Timestamp::from_micros(1_795_473_000_000_000) }
    }

    fn lengths(files: &Files) -> Vec<usize> {
        files.ready.iter().map(|footage| footage.frames.len()).collect()
    }

    #[test]
    fn a_segment_ends_when_it_is_long_or_old_or_another_stretch_begins() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(&folder);
        let (first, second) = (Session::new("continuous"), Session::new("door"));

        let done = files.work(job(vec![
            held(&first, 0, 4000),
            held(&first, 100, 4000),
            // Too long.
            held(&first, 200, 4000),
            // Too old.
            held(&first, 600_300, 100),
            held(&second, 600_400, 100),
            // Longer than a segment may be: alone.
            held(&second, 600_500, 20_000),
            held(&second, 600_600, 100),
        ]));

        assert!(done.trouble.is_none() && done.lost == 0, "{done:?}");
        assert_eq!(lengths(&files), [2, 1, 1, 1, 1, 1]);
        let stretches: Vec<_> = files.ready.iter().map(|footage| footage.stretch.as_str()).collect();
        assert!(stretches[..3].iter().all(|name| *name == files.ready[0].segment), "{stretches:?}");
        assert!(stretches[3..].iter().all(|name| *name == files.ready[3].segment), "{stretches:?}");
    }

    #[test]
    fn times_rise_within_a_segment_and_a_clock_set_back_begins_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(&folder);
        let tag = Session::new("continuous");

        files.work(job(vec![
            held(&tag, 5000, 100),
            held(&tag, 5000, 100),
            held(&tag, 4000, 100),
            held(&tag, 0, 100),
        ]));

        assert_eq!(lengths(&files), [3, 1]);
        let micros: Vec<_> = files.ready[0].frames.iter().map(|spot| spot.at.as_micros() % 1000).collect();
        assert_eq!(micros, [0, 1, 2]);
    }

    #[test]
    fn nothing_is_written_when_too_little_is_free_and_a_segment_without_a_frame_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::default().with_free_bytes(|_| Ok(1_249));
        let mut files = Files::new(folder.path().to_owned(), ModuleId::new("porch").unwrap(), machine, 1_000);
        let tag = Session::new("continuous");

        let done = files.work(job(vec![held(&tag, 0, 100)]));

        assert!(matches!(done.trouble, Some(WriteError::NoRoom(1_249))), "{done:?}");
        assert_eq!((done.lost, files.ready.len()), (1, 0));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
