//! Recordings in the store: their settings, and the index of the segment files with the frames.
//!
//! Deliberately absent: the files themselves.

use std::sync::Arc;

use async_trait::async_trait;
use iotpi_core::{
    ModuleId, Timestamp,
    model::{
        page::Page,
        recording::{Clip, FrameSelection, RecordingSettings},
    },
};

use super::{PageRequest, Result};

/// Location of a frame in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLocation {
    /// Capture time by the hub's clock.
    pub at: Timestamp,
    /// Offset of its record in the file, in bytes.
    pub offset: u64,
    /// Bytes of the JPEG.
    pub length: u32,
}

/// Durable frames of one segment, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedFrames {
    /// The module of the camera.
    pub module_id: ModuleId,
    /// Name of the segment.
    pub segment: String,
    /// The clip, named after its first segment.
    pub clip: String,
    /// Why the frames were recorded.
    pub reason: String,
    /// Locations of the frames.
    pub frames: Vec<FrameLocation>,
    /// End of the last of these frames in the file, in bytes.
    pub end: u64,
}

/// A frame found in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFrame {
    /// Name of its segment.
    pub segment: Arc<str>,
    /// Location in the segment.
    pub location: FrameLocation,
}

/// A segment in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRecord {
    /// The module of the camera.
    pub module_id: ModuleId,
    /// Name of the segment.
    pub name: String,
    /// The clip, named after its first segment.
    pub clip: String,
    /// Why the segment was recorded.
    pub reason: String,
    /// Capture time of its earliest frame.
    pub first_at: Timestamp,
    /// Capture time of its latest frame.
    pub last_at: Timestamp,
    /// Number of frames in the segment.
    pub frames: u64,
    /// End of its last indexed frame in the file, in bytes.
    pub bytes: u64,
}

/// Totals of a camera's recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordingTotals {
    /// Number of recorded frames.
    pub frames: u64,
    /// Bytes of the segment files.
    pub bytes: u64,
    /// Capture time of the earliest frame.
    pub oldest_at: Option<Timestamp>,
    /// Capture time of the latest frame.
    pub newest_at: Option<Timestamp>,
}

/// Selects recordings of a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipQuery {
    /// The module of the camera.
    pub module_id: ModuleId,
    /// Start of the range, inclusive.
    pub since: Option<Timestamp>,
    /// End of the range, exclusive.
    pub until: Option<Timestamp>,
}

/// Reads recording settings and the frame index. The rules of [`Store`](super::Store) apply.
#[async_trait]
pub trait ReadFrameIndex {
    /// The recording settings of a camera; `None` if none were set.
    async fn recording(&self, module_id: &ModuleId) -> Result<Option<RecordingSettings>>;

    /// All recording settings, by module id.
    async fn all_recording(&self) -> Result<Vec<(ModuleId, RecordingSettings)>>;

    /// Totals of a camera's recordings.
    async fn recording_totals(&self, module_id: &ModuleId) -> Result<RecordingTotals>;

    /// Clips that overlap the range, ordered by start time, then by id.
    async fn clips(&self, query: &ClipQuery, page: &PageRequest) -> Result<Page<Clip>>;

    /// Frames in the range, ordered by capture time, then by their position in the files.
    async fn recorded_frames(&self, query: &ClipQuery, page: &PageRequest) -> Result<Page<FoundFrame>>;

    /// The frame nearest to a time, the first after it, or the last before it.
    async fn recorded_frame(
        &self,
        module_id: &ModuleId,
        at: Timestamp,
        pick: FrameSelection,
    ) -> Result<Option<FoundFrame>>;

    /// The segments of a camera, earliest first.
    async fn segments(&self, module_id: &ModuleId, page: &PageRequest) -> Result<Page<SegmentRecord>>;

    /// The segments whose files are to be removed, by module and name.
    async fn tombstones(&self) -> Result<Vec<(ModuleId, String)>>;
}

/// Changes recording settings and the frame index. The rules of [`Store`](super::Store) apply.
#[async_trait]
pub trait WriteFrameIndex {
    /// Stores the recording settings of a camera.
    ///
    /// Errors: [`StoreError::NotFound`](super::StoreError::NotFound) (the module).
    async fn set_recording(&self, module_id: &ModuleId, settings: &RecordingSettings) -> Result<()>;

    /// Indexes durable frames. Idempotent: frames before the indexed end of the segment are ignored.
    ///
    /// Errors: [`StoreError::NotFound`](super::StoreError::NotFound) (the module; a segment with a
    /// tombstone).
    async fn index_frames(&self, frames: &IndexedFrames) -> Result<()>;

    /// Removes segments from the index and adds a tombstone for each of their files, for unknown segments
    /// too. Removing a module does the same with all of its segments.
    async fn add_tombstones(&self, module_id: &ModuleId, names: &[String]) -> Result<()>;

    /// Removes the tombstones of files that were removed.
    async fn remove_tombstones(&self, gone: &[(ModuleId, String)]) -> Result<()>;
}
