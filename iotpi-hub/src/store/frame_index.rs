//! What the store keeps of recordings: settings, and the index of the files in which the frames lie.
//!
//! Part of the one trait of the cellar, in a file of its own. Deliberately absent: the files.

use std::sync::Arc;

use async_trait::async_trait;
use iotpi_core::{Clip, FrameSelection, ModuleId, Page, RecordingSettings, Timestamp};

use super::{PageRequest, Result};

/// Where a frame lies in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLocation {
    /// When it was captured, by the hub's clock.
    pub at: Timestamp,
    /// Where its record begins, bytes from the file's beginning.
    pub offset: u64,
    /// Bytes of the JPEG.
    pub length: u32,
}

/// Frames of one segment that are on the disk, in the order in which they lie there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedFrames {
    /// Whose camera.
    pub module_id: ModuleId,
    /// The segment's name.
    pub segment: String,
    /// The name of the segment that began its stretch.
    pub stretch: String,
    /// Why it is recorded.
    pub reason: String,
    /// The frames.
    pub frames: Vec<FrameLocation>,
    /// Bytes of the file up to the end of the last of them.
    pub end: u64,
}

/// A frame that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFrame {
    /// The name of the segment it is in.
    pub segment: Arc<str>,
    /// Where in it.
    pub spot: FrameLocation,
}

/// A segment as it is indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRecord {
    /// Whose camera.
    pub module_id: ModuleId,
    /// Its name.
    pub name: String,
    /// The name of the segment that began its stretch.
    pub stretch: String,
    /// Why it was recorded.
    pub reason: String,
    /// When its earliest frame was captured.
    pub first_at: Timestamp,
    /// When its latest frame was captured.
    pub last_at: Timestamp,
    /// How many frames it has.
    pub frames: u64,
    /// Bytes of the file up to the end of its last indexed frame.
    pub bytes: u64,
}

/// All of a camera's recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordingTotals {
    /// Frames.
    pub frames: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// When the earliest frame was captured.
    pub oldest_at: Option<Timestamp>,
    /// When the latest frame was captured.
    pub newest_at: Option<Timestamp>,
}

/// Which recordings of a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipQuery {
    /// Whose camera.
    pub module_id: ModuleId,
    /// From this moment on, inclusive.
    pub since: Option<Timestamp>,
    /// Up to this moment, exclusive.
    pub until: Option<Timestamp>,
}

/// The part of a [`Store`](super::Store) that keeps recordings' settings and index; what holds for its methods holds for these.
#[async_trait]
pub trait FrameIndexStore {
    /// Keeps when a camera is recorded.
    ///
    /// Errors: [`StoreError::NotFound`](super::StoreError::NotFound) (the module).
    async fn set_recording(&self, module_id: &ModuleId, settings: &RecordingSettings) -> Result<()>;

    /// When a camera is recorded; nothing when nobody said.
    async fn recording(&self, module_id: &ModuleId) -> Result<Option<RecordingSettings>>;

    /// What was said of all cameras, by module id.
    async fn all_recording(&self) -> Result<Vec<(ModuleId, RecordingSettings)>>;

    /// Keeps where frames lie that are on the disk. Those before the end of what is indexed of the segment are known: said
    /// twice is said once.
    ///
    /// Errors: [`StoreError::NotFound`](super::StoreError::NotFound) (the module; a segment that is doomed).
    async fn index_footage(&self, footage: &IndexedFrames) -> Result<()>;

    /// How much there is of a camera.
    async fn footage_totals(&self, module_id: &ModuleId) -> Result<RecordingTotals>;

    /// Stretches that touch the time asked for, by the moment they begin, then by id.
    async fn stretches(&self, query: &ClipQuery, page: &PageRequest) -> Result<Page<Clip>>;

    /// Frames by the moment they were captured, then as they lie in their files.
    async fn footage(&self, query: &ClipQuery, page: &PageRequest) -> Result<Page<FoundFrame>>;

    /// The frame nearest to a moment, the first after it or the last before it.
    async fn footage_near(
        &self,
        module_id: &ModuleId,
        at: Timestamp,
        pick: FrameSelection,
    ) -> Result<Option<FoundFrame>>;

    /// A camera's segments, the earliest first.
    async fn segments(&self, module_id: &ModuleId, page: &PageRequest) -> Result<Page<SegmentRecord>>;

    /// Takes segments out of the index and notes that their files are to go; unknown ones are only noted. A module that is
    /// removed does the same with all of its own.
    async fn doom_segments(&self, module_id: &ModuleId, names: &[String]) -> Result<()>;

    /// Segments whose files are to go, by module and name.
    async fn doomed_segments(&self) -> Result<Vec<(ModuleId, String)>>;

    /// Their files are gone.
    async fn forget_doomed(&self, gone: &[(ModuleId, String)]) -> Result<()>;
}
