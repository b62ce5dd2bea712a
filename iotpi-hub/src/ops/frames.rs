//! Publishing frames and looking up cameras.

use std::sync::Arc;

use iotpi_core::{
    Frame, ModuleId,
    model::{
        camera::{CameraInfo, FrameReceipt, ViewerKind, WatchedCamera},
        event::Event,
    },
};

use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    frames::{Moment, PublishedFrame, Slot, Viewer},
};

impl Hub {
    /// Publishes a frame to all viewers of a camera.
    ///
    /// # Errors
    /// `PermissionDenied`, `RateLimited` (the maximum number of cameras or modules is reached), the store's.
    ///
    /// # Cancel safety
    /// The frame is published or not.
    pub async fn publish_frame(
        &self,
        caller: &Caller,
        module_id: &ModuleId,
        frame: Frame,
    ) -> Result<FrameReceipt> {
        caller.may_deliver_as(module_id)?;
        self.touch_module(caller, module_id).await?;
        let outcome = self.inner.frames.publish(module_id, frame, self.moment())?;
        if outcome.announce
            && let Some(camera) = self.camera(module_id)
        {
            self.events().publish(Event::Camera { camera });
        }
        Ok(outcome.receipt)
    }

    /// Counts a rejected frame of a camera. Returns `false` if the camera is not known.
    pub(crate) fn refused_frame(&self, caller: &Caller, module_id: &ModuleId) -> bool {
        caller.may_deliver_as(module_id).is_ok() && self.inner.frames.refused(module_id)
    }

    /// Counts a frame whose capture time was ignored, and logs the first one of each camera.
    pub(crate) fn ignored_frame_time(&self, module_id: &ModuleId) {
        self.inner.metrics.frame_times_ignored.inc();
        if self.inner.frames.is_first_ignored_time(module_id) {
            tracing::warn!(
                camera = %module_id,
                "X-Timestamp is invalid or more than a day off the hub's clock; frames get the time of their arrival"
            );
        }
    }

    /// The slot of a camera that pushes frames.
    pub(crate) fn slot(&self, caller: &Caller, module_id: &ModuleId) -> Result<Arc<Slot>> {
        caller.may_deliver_as(module_id)?;
        Ok(self.inner.frames.slot(module_id, self.moment()))
    }

    /// The newest frame of a camera.
    #[must_use]
    pub fn newest_frame(&self, module_id: &ModuleId) -> Option<Arc<PublishedFrame>> {
        self.inner.frames.newest(module_id)
    }

    /// Information on a camera that has delivered a frame.
    #[must_use]
    pub fn camera(&self, module_id: &ModuleId) -> Option<CameraInfo> {
        self.inner.frames.info(module_id, self.moment())
    }

    /// All cameras that have delivered a frame, by id.
    #[must_use]
    pub fn cameras(&self) -> Vec<CameraInfo> {
        self.inner.frames.names().iter().filter_map(|id| self.camera(id)).collect()
    }

    /// All cameras that have delivered a frame, by id, with their viewers.
    #[must_use]
    pub fn watched_cameras(&self) -> Vec<WatchedCamera> {
        let now = self.moment();
        self.inner.frames.names().iter().filter_map(|id| self.inner.frames.watched(id, now)).collect()
    }

    /// Publishes an event for each camera that was lost or came back. Called once a second.
    pub(crate) fn detect_lost_cameras(&self) {
        for id in self.inner.frames.publish_lost(self.moment()) {
            if let Some(camera) = self.camera(&id) {
                self.events().publish(Event::Camera { camera });
            }
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { wall: self.now().wall, uptime: self.inner.clock.uptime() }
    }

    /// Resolves the camera of a request: the named one, otherwise the only one.
    pub(crate) fn resolve_camera(&self, named: Option<ModuleId>) -> Result<ModuleId> {
        if let Some(id) = named {
            return Ok(id);
        }
        let mut names = self.inner.frames.names();
        match (names.pop(), names.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                names.push(last);
                let choices = names.into_iter().map(String::from).collect();
                Err(HubError::invalid_argument("There are several cameras. Choose one with `module_id`.")
                    .with_choices(choices))
            }
            (None, _) => Err(HubError::not_found("No camera has delivered a frame yet.")),
        }
    }

    /// Adds a viewer to a camera that has delivered a frame, or to a module that has not delivered one yet.
    pub(crate) fn watch(&self, module_id: &ModuleId, via: ViewerKind) -> Result<Viewer> {
        if self.inner.frames.newest(module_id).is_none() && !self.inner.presence.knows(module_id) {
            return Err(HubError::no_module(module_id));
        }
        Ok(self.inner.frames.watch(module_id, via, self.moment()))
    }
}
