//! The newest picture of each camera, and who watches it.
//!
//! Newest wins: a frame is shown to whoever is ready for it and forgotten when the next one comes. Its bytes are shared by
//! all viewers, never copied. Deliberately absent: a queue, decoding, anything on disk.

mod buffers;
mod figures;
mod no_signal;
mod pace;
mod slot;
mod viewer;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use iotpi_core::{CameraInfo, Frame, FrameReceipt, ModuleId, Timestamp, ViewerKind, WatchedCamera};

pub(crate) use buffers::{Buffer, Buffers};
pub(crate) use figures::metrics;
pub(crate) use slot::Slot;
pub(crate) use viewer::Viewer;

use crate::{
    error::{HubError, Result},
    lock::lock,
    metrics::Metrics,
};

/// The most bytes that the newest frames of all cameras take together.
const MAX_NEWEST_BYTES: usize = 96 * 1024 * 1024;

/// A picture as it is shown.
#[derive(Debug, Clone)]
pub struct PublishedFrame {
    /// The picture.
    pub frame: Frame,
    /// Its number: those of a camera rise from the hub's start.
    pub seq: u64,
    /// When it was taken, by the hub's clock and never later than it came.
    pub captured_at: Timestamp,
    /// When the hub got it.
    pub received_at: Timestamp,
    /// The hub drew it, because the camera delivers nothing.
    pub no_signal: bool,
    /// What stands before it in an MJPEG stream; made for the first viewer of it.
    pub(crate) part_head: OnceLock<Bytes>,
}

/// The cameras.
#[derive(Debug)]
pub(crate) struct Frames {
    slots: Mutex<HashMap<ModuleId, Arc<Slot>>>,
    max_cameras: u64,
    lost_after: Duration,
    /// What pictures are read into.
    pub(crate) buffers: Arc<Buffers>,
    metrics: Arc<Metrics>,
}

/// What showing a frame led to.
pub(crate) struct PublishOutcome {
    pub(crate) receipt: FrameReceipt,
    /// Whether it is time to tell everybody about the camera.
    pub(crate) announce: bool,
}

/// A moment: by the wall clock, and in monotonic time since the hub's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) wall: Timestamp,
    pub(crate) uptime: Duration,
}

impl Frames {
    pub(crate) fn new(max_cameras: u64, lost_after: Duration, metrics: Arc<Metrics>) -> Self {
        Self { slots: Mutex::default(), max_cameras, lost_after, buffers: Arc::default(), metrics }
    }

    /// Shows a frame to all who watch that camera.
    ///
    /// # Errors
    /// `RateLimited` when as many cameras deliver as there may be.
    pub(crate) fn publish(&self, module_id: &ModuleId, frame: Frame, now: Moment) -> Result<PublishOutcome> {
        let slot = self.delivering(module_id, now)?;
        self.check_memory(&slot, frame.jpeg().len())?;
        self.metrics.frames_in.add(1);
        Ok(slot.publish(frame, now))
    }

    /// Whether there is memory for a frame of that size in place of the camera's last one.
    fn check_memory(&self, slot: &Slot, bytes: usize) -> Result<()> {
        // A frame is smaller than this for nearly every camera; then nothing has to be added up.
        if bytes.saturating_mul(usize::try_from(self.max_cameras).unwrap_or(usize::MAX)) <= MAX_NEWEST_BYTES {
            return Ok(());
        }
        let newest = |slot: &Arc<Slot>| slot.last_good().map_or(0, |shown| shown.frame.jpeg().len());
        let all: usize = lock(&self.slots).values().map(newest).sum();
        let own = slot.last_good().map_or(0, |shown| shown.frame.jpeg().len());
        if bytes > own && all - own + bytes > MAX_NEWEST_BYTES {
            return Err(HubError::unavailable(format!(
                "the newest frames of all cameras take {} MiB of memory already; send smaller frames",
                MAX_NEWEST_BYTES >> 20
            )));
        }
        Ok(())
    }

    /// The slot of a camera, made if it is new. Whoever pushes frames or watches keeps it; what it shows after the camera was
    /// removed nobody sees. A camera that has delivered nothing takes none of the `max_cameras` places.
    pub(crate) fn slot(&self, module_id: &ModuleId, now: Moment) -> Arc<Slot> {
        Arc::clone(self.entry(&mut lock(&self.slots), module_id, now))
    }

    /// The slot of a camera that delivers, which takes a place.
    fn delivering(&self, module_id: &ModuleId, now: Moment) -> Result<Arc<Slot>> {
        let mut slots = lock(&self.slots);
        let has_place = slots.get(module_id).is_some_and(|slot| slot.has_place());
        if !has_place && slots.values().filter(|slot| slot.has_place()).count() as u64 >= self.max_cameras {
            return Err(HubError::rate_limited(format!(
                "{} cameras deliver already (limits.cameras): remove one, or raise the limit",
                self.max_cameras
            )));
        }
        let slot = self.entry(&mut slots, module_id, now);
        slot.take_place();
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

    /// Begins to watch a camera, which may not have delivered yet. What is kept for one that has not goes with its last viewer.
    pub(crate) fn watch(self: &Arc<Self>, module_id: &ModuleId, via: ViewerKind, now: Moment) -> Viewer {
        let slot = self.slot(module_id, now);
        // Who comes to a camera that is gone shall not take its last picture for the present.
        slot.tell_if_lost(now);
        Viewer::new(Arc::clone(self), module_id.clone(), slot, via, now.wall)
    }

    /// A camera's newest frame; never one the hub drew.
    pub(crate) fn newest(&self, module_id: &ModuleId) -> Option<Arc<PublishedFrame>> {
        lock(&self.slots).get(module_id)?.last_good()
    }

    /// The cameras that have delivered, by id.
    pub(crate) fn names(&self) -> Vec<ModuleId> {
        let mut names: Vec<ModuleId> = lock(&self.slots)
            .iter()
            .filter(|(_, slot)| slot.last_good().is_some())
            .map(|(id, _)| id.clone())
            .collect();
        names.sort();
        names
    }

    /// A camera that has delivered, as it now is.
    pub(crate) fn info(&self, module_id: &ModuleId, now: Moment) -> Option<CameraInfo> {
        let slot = lock(&self.slots).get(module_id).cloned()?;
        slot.info(module_id, now)
    }

    /// A camera that has delivered, with who watches it.
    pub(crate) fn watched(&self, module_id: &ModuleId, now: Moment) -> Option<WatchedCamera> {
        let slot = lock(&self.slots).get(module_id).cloned()?;
        let camera = slot.info(module_id, now)?;
        let age = now.wall.since(camera.captured_at).as_secs_f64();
        Some(WatchedCamera { camera, age, watching: slot.watching() })
    }

    /// Counts that a delivery for that camera was refused; `false` when the camera is not known.
    pub(crate) fn refused(&self, module_id: &ModuleId) -> bool {
        lock(&self.slots).get(module_id).inspect(|slot| slot.refused()).is_some()
    }

    /// Whether this is the first frame of that camera whose capture time was ignored.
    pub(crate) fn is_first_ignored_time(&self, module_id: &ModuleId) -> bool {
        lock(&self.slots).get(module_id).is_some_and(|slot| slot.is_first_ignored_time())
    }

    /// Shows who watches a lost camera that it is lost. Called once a second; the cameras that fell silent or came back since
    /// the last time.
    pub(crate) fn look_for_lost(&self, now: Moment) -> Vec<ModuleId> {
        let slots: Vec<_> =
            lock(&self.slots).iter().map(|(id, slot)| (id.clone(), Arc::clone(slot))).collect();
        let turned = slots.into_iter().filter(|(_, slot)| {
            slot.tell_if_lost(now);
            slot.turned(now)
        });
        turned.map(|(id, _)| id).collect()
    }

    /// Forgets a camera; who watches it sees the end.
    pub(crate) fn remove(&self, module_id: &ModuleId) {
        if let Some(slot) = lock(&self.slots).remove(module_id) {
            slot.end();
        }
    }

    /// A camera that was waited for and never came leaves nothing behind.
    pub(crate) fn forget_unseen(&self, module_id: &ModuleId, slot: &Arc<Slot>) {
        let mut slots = lock(&self.slots);
        if slot.viewers() == 0
            && !slot.has_place()
            && slots.get(module_id).is_some_and(|kept| Arc::ptr_eq(kept, slot))
        {
            slots.remove(module_id);
        }
    }
}

#[cfg(test)]
mod tests;
