//! Showing frames and finding cameras.

use std::sync::Arc;

use iotpi_core::{CameraInfo, Event, Frame, FrameReceipt, ModuleId, ViewerKind, WatchedCamera};

use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    frames::{Moment, PublishedFrame, Slot, Viewer},
};

impl Hub {
    /// Shows a frame to all who watch that camera.
    ///
    /// # Errors
    /// `PermissionDenied`, `RateLimited` (no room for another camera or module), the store's.
    ///
    /// # Cancel safety
    /// Shown or not.
    pub async fn publish_frame(
        &self,
        caller: &Caller,
        module_id: &ModuleId,
        frame: Frame,
    ) -> Result<FrameReceipt> {
        caller.may_deliver_as(module_id)?;
        self.heard(caller, module_id).await?;
        let showing = self.inner.frames.publish(module_id, frame, self.moment())?;
        if showing.announce
            && let Some(camera) = self.camera(module_id)
        {
            self.events().publish(Event::Camera { camera });
        }
        Ok(showing.receipt)
    }

    /// Counts that a frame of that camera was refused; `false` when the camera is not known.
    pub(crate) fn refused_frame(&self, caller: &Caller, module_id: &ModuleId) -> bool {
        caller.may_deliver_as(module_id).is_ok() && self.inner.frames.refused(module_id)
    }

    /// Counts that a frame's capture time was no possible time, and logs it the first time for each camera.
    pub(crate) fn ignored_frame_time(&self, module_id: &ModuleId) {
        self.inner.metrics.frame_times_ignored.add(1);
        if self.inner.frames.is_first_ignored_time(module_id) {
            tracing::warn!(
                camera = %module_id,
                "X-Timestamp is more than a day off the hub's clock or no time at all: its frames count as taken when they arrive"
            );
        }
    }

    /// The place of a camera that pushes.
    pub(crate) fn slot(&self, caller: &Caller, module_id: &ModuleId) -> Result<Arc<Slot>> {
        caller.may_deliver_as(module_id)?;
        Ok(self.inner.frames.slot(module_id, self.moment()))
    }

    /// A camera's newest frame.
    #[must_use]
    pub fn newest_frame(&self, module_id: &ModuleId) -> Option<Arc<PublishedFrame>> {
        self.inner.frames.newest(module_id)
    }

    /// A camera that has delivered, as it now is.
    #[must_use]
    pub fn camera(&self, module_id: &ModuleId) -> Option<CameraInfo> {
        self.inner.frames.info(module_id, self.moment())
    }

    /// The cameras that have delivered, by id.
    #[must_use]
    pub fn cameras(&self) -> Vec<CameraInfo> {
        self.inner.frames.names().iter().filter_map(|id| self.camera(id)).collect()
    }

    /// The cameras that have delivered, by id, with who watches them.
    #[must_use]
    pub fn watched_cameras(&self) -> Vec<WatchedCamera> {
        let now = self.moment();
        self.inner.frames.names().iter().filter_map(|id| self.inner.frames.watched(id, now)).collect()
    }

    /// Tells of cameras that fell silent or came back; called once a second.
    pub(crate) fn detect_lost_cameras(&self) {
        for id in self.inner.frames.look_for_lost(self.moment()) {
            if let Some(camera) = self.camera(&id) {
                self.events().publish(Event::Camera { camera });
            }
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { wall: self.now().wall, uptime: self.inner.clock.uptime() }
    }

    /// The camera that is meant: the one named, else the only one.
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
                Err(HubError::invalid_argument("there are several cameras: say which with `module_id`")
                    .with_choices(choices))
            }
            (None, _) => Err(HubError::not_found("no camera has delivered a frame yet")),
        }
    }

    /// Begins to watch a camera: one that has delivered, or a module that may yet.
    pub(crate) fn watch(&self, module_id: &ModuleId, via: ViewerKind) -> Result<Viewer> {
        if self.inner.frames.newest(module_id).is_none() && !self.inner.presence.knows(module_id) {
            return Err(HubError::not_found(format!("There is no module `{module_id}`.")));
        }
        Ok(self.inner.frames.watch(module_id, via, self.moment()))
    }
}
