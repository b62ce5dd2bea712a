//! Somebody who watches a camera.

use std::sync::Arc;

use iotpi_core::{ModuleId, Timestamp, ViewerKind};
use tokio::sync::watch;

use super::{Frames, PublishedFrame, Slot, slot::ViewerCounts};

/// Somebody who watches a camera; counted until dropped.
#[derive(Debug)]
pub(crate) struct Viewer {
    frames: Arc<Frames>,
    module_id: ModuleId,
    newest: watch::Receiver<Option<Arc<PublishedFrame>>>,
    slot: Arc<Slot>,
    tally: Arc<ViewerCounts>,
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
        let tally = slot.enter(via, since);
        Self { frames, module_id, newest: slot.subscribe(), slot, tally, last_seq: None }
    }

    /// The newest picture this viewer has not seen, as soon as there is one; nothing when the camera is removed. While the
    /// camera delivers nothing, once a second the one that says so.
    ///
    /// # Cancel safety
    /// A cancelled wait has missed nothing.
    pub(crate) async fn next(&mut self) -> Option<Arc<PublishedFrame>> {
        loop {
            let newest = self.newest.borrow_and_update().clone();
            match newest {
                Some(shown) if self.last_seq.is_none_or(|last| shown.seq > last) => {
                    let skipped = self.last_seq.map_or(0, |last| shown.seq - last - 1);
                    self.last_seq = Some(shown.seq);
                    self.slot.gave(&self.tally, shown.seq, skipped);
                    self.frames.metrics.frames_skipped.add(skipped);
                    self.frames.metrics.frames_out.add(1);
                    return Some(shown);
                }
                None if self.slot.is_gone() => return None,
                _ => self.newest.changed().await.ok()?,
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.frames.metrics.frames_skipped.add(self.slot.leave(&self.tally));
        self.frames.forget_unseen(&self.module_id, &self.slot);
    }
}
