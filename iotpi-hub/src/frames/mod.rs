//! The newest frame of each camera, and its viewers.
//!
//! Newest wins: a frame is delivered to every viewer that is ready, and replaced when the next one arrives.
//! All viewers share its bytes; nothing is copied. Deliberately absent: a queue, decoding, anything on disk.

mod arrival_stats;
mod buffers;
mod figures;
mod no_signal;
mod slot;
mod viewer;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use iotpi_core::{
    Frame, ModuleId, Timestamp,
    model::camera::{CameraInfo, FrameReceipt, ViewerKind, WatchedCamera},
};

pub(crate) use buffers::{Buffer, Buffers};
pub(crate) use figures::metrics;
pub(crate) use slot::Slot;
pub(crate) use viewer::Viewer;

use crate::{
    error::{HubError, Result},
    lock::lock,
    metrics::Metrics,
};

/// Maximum bytes of the newest frames of all cameras.
const MAX_NEWEST_BYTES: usize = 96 * 1024 * 1024;

/// A frame as it is published to viewers.
#[derive(Debug, Clone)]
pub struct PublishedFrame {
    /// The frame with its JPEG.
    pub frame: Frame,
    /// Sequence number: rises for each camera, and starts again with the hub.
    pub seq: u64,
    /// Capture time by the hub's clock, never later than `received_at`.
    pub captured_at: Timestamp,
    /// Time of arrival at the hub.
    pub received_at: Timestamp,
    /// Whether the hub drew this frame because the camera delivers nothing.
    pub no_signal: bool,
    /// The header of its part in an MJPEG stream; made for the first viewer.
    pub(crate) part_head: OnceLock<Bytes>,
}

/// The slots of all cameras.
#[derive(Debug)]
pub(crate) struct Frames {
    slots: Mutex<HashMap<ModuleId, Arc<Slot>>>,
    max_cameras: u64,
    lost_after: Duration,
    /// Buffers that frames are read into.
    pub(crate) buffers: Arc<Buffers>,
    metrics: Arc<Metrics>,
}

/// Result of publishing a frame.
pub(crate) struct PublishOutcome {
    pub(crate) receipt: FrameReceipt,
    /// Whether an event about the camera is due.
    pub(crate) announce: bool,
}

/// A point in time: by the wall clock, and as monotonic uptime of the hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) wall: Timestamp,
    pub(crate) uptime: Duration,
}

impl Frames {
    pub(crate) fn new(max_cameras: u64, lost_after: Duration, metrics: Arc<Metrics>) -> Self {
        Self { slots: Mutex::default(), max_cameras, lost_after, buffers: Arc::default(), metrics }
    }

    /// Publishes a frame to all viewers of a camera.
    ///
    /// # Errors
    /// `RateLimited` when the maximum number of cameras already deliver.
    pub(crate) fn publish(&self, module_id: &ModuleId, frame: Frame, now: Moment) -> Result<PublishOutcome> {
        let slot = self.delivering(module_id, now)?;
        self.check_memory(&slot, frame.jpeg().len())?;
        self.metrics.frames_in.inc();
        Ok(slot.publish(frame, now))
    }

    /// Checks that there is memory for a frame of this size in place of the camera's newest one.
    fn check_memory(&self, slot: &Slot, bytes: usize) -> Result<()> {
        // True for nearly every camera; then there is no need to add up the frames.
        if bytes.saturating_mul(usize::try_from(self.max_cameras).unwrap_or(usize::MAX)) <= MAX_NEWEST_BYTES {
            return Ok(());
        }
        let newest = |slot: &Arc<Slot>| slot.last_good().map_or(0, |published| published.frame.jpeg().len());
        let all: usize = lock(&self.slots).values().map(newest).sum();
        let own = slot.last_good().map_or(0, |published| published.frame.jpeg().len());
        if bytes > own && all - own + bytes > MAX_NEWEST_BYTES {
            return Err(HubError::unavailable(format!(
                "The newest frames of all cameras already take {} MiB of memory. Send smaller frames.",
                MAX_NEWEST_BYTES >> 20
            )));
        }
        Ok(())
    }

    /// The slot of a camera, created if it does not exist. Publishers and viewers hold a slot; one that
    /// outlives its camera has no effect. A camera that has delivered nothing does not count towards
    /// `max_cameras`.
    pub(crate) fn slot(&self, module_id: &ModuleId, now: Moment) -> Arc<Slot> {
        Arc::clone(self.entry(&mut lock(&self.slots), module_id, now))
    }

    /// The slot of a delivering camera, which counts towards `max_cameras`.
    fn delivering(&self, module_id: &ModuleId, now: Moment) -> Result<Arc<Slot>> {
        let mut slots = lock(&self.slots);
        let is_delivering = slots.get(module_id).is_some_and(|slot| slot.is_delivering());
        if !is_delivering
            && slots.values().filter(|slot| slot.is_delivering()).count() as u64 >= self.max_cameras
        {
            return Err(HubError::rate_limited(format!(
                "{} cameras already deliver frames. Remove one, or raise `limits.cameras`.",
                self.max_cameras
            )));
        }
        let slot = self.entry(&mut slots, module_id, now);
        slot.mark_delivering();
        Ok(Arc::clone(slot))
    }

    fn entry<'a>(
        &self,
        slots: &'a mut HashMap<ModuleId, Arc<Slot>>,
        module_id: &ModuleId,
        now: Moment,
    ) -> &'a Arc<Slot> {
        slots.entry(module_id.clone()).or_insert_with(|| Arc::new(Slot::new(now, self.lost_after)))
    }

    /// Adds a viewer to a camera, which may not have delivered yet. The slot of a camera that has not
    /// delivered is removed with its last viewer.
    pub(crate) fn watch(self: &Arc<Self>, module_id: &ModuleId, via: ViewerKind, now: Moment) -> Viewer {
        let slot = self.slot(module_id, now);
        // A new viewer of a lost camera must not take the last frame for a current one.
        slot.publish_if_lost(now);
        Viewer::new(Arc::clone(self), module_id.clone(), slot, via, now.wall)
    }

    /// The newest frame of a camera; never one that the hub drew.
    pub(crate) fn newest(&self, module_id: &ModuleId) -> Option<Arc<PublishedFrame>> {
        lock(&self.slots).get(module_id)?.last_good()
    }

    /// Ids of the cameras that have delivered, sorted.
    pub(crate) fn names(&self) -> Vec<ModuleId> {
        let mut names: Vec<ModuleId> = lock(&self.slots)
            .iter()
            .filter(|(_, slot)| slot.last_good().is_some())
            .map(|(id, _)| id.clone())
            .collect();
        names.sort();
        names
    }

    /// Information on a camera that has delivered.
    pub(crate) fn info(&self, module_id: &ModuleId, now: Moment) -> Option<CameraInfo> {
        let slot = lock(&self.slots).get(module_id).cloned()?;
        slot.info(module_id, now)
    }

    /// Information on a camera that has delivered, with its viewers.
    pub(crate) fn watched(&self, module_id: &ModuleId, now: Moment) -> Option<WatchedCamera> {
        let slot = lock(&self.slots).get(module_id).cloned()?;
        let camera = slot.info(module_id, now)?;
        let age = now.wall.since(camera.captured_at).as_secs_f64();
        Some(WatchedCamera::new(camera, age, slot.watching()))
    }

    /// Counts a rejected frame. Returns `false` if the camera is not known.
    pub(crate) fn refused(&self, module_id: &ModuleId) -> bool {
        lock(&self.slots).get(module_id).inspect(|slot| slot.refused()).is_some()
    }

    /// Whether this is the first frame of the camera whose capture time was ignored.
    pub(crate) fn is_first_ignored_time(&self, module_id: &ModuleId) -> bool {
        lock(&self.slots).get(module_id).is_some_and(|slot| slot.is_first_ignored_time())
    }

    /// Publishes a "no signal" frame to the viewers of lost cameras. Called once a second. Returns the
    /// cameras that were lost or came back since the last call.
    pub(crate) fn publish_lost(&self, now: Moment) -> Vec<ModuleId> {
        let slots: Vec<_> =
            lock(&self.slots).iter().map(|(id, slot)| (id.clone(), Arc::clone(slot))).collect();
        let take_online_change = slots.into_iter().filter(|(_, slot)| {
            slot.publish_if_lost(now);
            slot.take_online_change(now)
        });
        take_online_change.map(|(id, _)| id).collect()
    }

    /// Removes a camera and ends the streams of its viewers.
    pub(crate) fn remove(&self, module_id: &ModuleId) {
        if let Some(slot) = lock(&self.slots).remove(module_id) {
            slot.remove();
        }
    }

    /// Removes the slot of a camera that has no viewer and never delivered.
    pub(crate) fn remove_unused(&self, module_id: &ModuleId, slot: &Arc<Slot>) {
        let mut slots = lock(&self.slots);
        if slot.viewers() == 0
            && !slot.is_delivering()
            && slots.get(module_id).is_some_and(|kept| Arc::ptr_eq(kept, slot))
        {
            slots.remove(module_id);
        }
    }
}

#[cfg(test)]
mod tests;
