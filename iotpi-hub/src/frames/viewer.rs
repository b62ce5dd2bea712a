//! A viewer of a camera.

use std::sync::Arc;

use iotpi_core::{ModuleId, Timestamp, model::camera::ViewerKind};
use tokio::sync::watch;

use super::{Frames, PublishedFrame, Slot, slot::ViewerCounts};

/// A viewer of a camera; counted until dropped.
#[derive(Debug)]
pub(crate) struct Viewer {
    frames: Arc<Frames>,
    module_id: ModuleId,
    newest: watch::Receiver<Option<Arc<PublishedFrame>>>,
    slot: Arc<Slot>,
    counts: Arc<ViewerCounts>,
    last_seq: Option<u64>,
}

impl Viewer {
    pub(super) fn new(
        frames: Arc<Frames>,
        module_id: ModuleId,
        slot: Arc<Slot>,
        via: ViewerKind,
        since: Timestamp,
    ) -> Self {
        let counts = slot.add_viewer(via, since);
        Self { frames, module_id, newest: slot.subscribe(), slot, counts, last_seq: None }
    }

    /// Waits for a frame newer than the last one returned; `None` when the camera is removed. While the
    /// camera delivers nothing, this is a "no signal" frame once a second.
    ///
    /// # Cancel safety
    /// A cancelled wait loses no frame.
    pub(crate) async fn next(&mut self) -> Option<Arc<PublishedFrame>> {
        loop {
            let newest = self.newest.borrow_and_update().clone();
            match newest {
                Some(published) if self.last_seq.is_none_or(|last| published.seq > last) => {
                    let skipped = self.last_seq.map_or(0, |last| published.seq - last - 1);
                    self.last_seq = Some(published.seq);
                    self.slot.count_delivery(&self.counts, published.seq, skipped);
                    self.frames.metrics.frames_skipped.inc_by(skipped);
                    self.frames.metrics.frames_out.inc();
                    return Some(published);
                }
                None if self.slot.is_gone() => return None,
                _ => self.newest.changed().await.ok()?,
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.frames.metrics.frames_skipped.inc_by(self.slot.remove_viewer(&self.counts));
        self.frames.remove_unused(&self.module_id, &self.slot);
    }
}
