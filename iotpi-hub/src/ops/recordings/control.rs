//! Starting, stopping and waking the recorders of cameras.

use std::{sync::Arc, time::Duration};

use iotpi_core::{
    ModuleId,
    model::recording::{RecordingMode, RecordingSettings},
};

use super::recorder::Recorder;
use crate::{
    Hub,
    lock::lock,
    recording::{Camera, Event, segment_files::Session},
};

/// A camera whose recorder was stopped because the camera is about to be removed. Recording resumes when this
/// is dropped without [`Self::commit`].
#[derive(Debug)]
pub(crate) struct SuspendedRecording {
    hub: Hub,
    camera: Option<Arc<Camera>>,
}

impl SuspendedRecording {
    /// The camera was removed; recording does not resume.
    pub(crate) fn commit(mut self) {
        self.camera = None;
    }
}

impl Drop for SuspendedRecording {
    fn drop(&mut self) {
        if let Some(camera) = self.camera.take() {
            lock(&camera.state).removed = false;
            self.hub.wake_recorder(&camera);
        }
    }
}

impl Hub {
    /// Applies new settings.
    pub(super) fn apply_recording(&self, id: &ModuleId, settings: RecordingSettings) {
        let recordings = &self.inner.recordings;
        let camera = recordings.camera_or_new(id);
        let is_on_event = settings.mode == RecordingMode::OnEvent;
        self.set_triggers(&camera, if is_on_event { &settings.triggers } else { &[] });
        {
            let mut state = lock(&camera.state);
            // The mode `off` ends the current event at once.
            state.event.take_if(|_| settings.mode == RecordingMode::Off);
            state.settings = settings;
        }
        self.wake_recorder(&camera);
        recordings.retention_changed.notify_one();
    }

    /// Records every frame of a camera from now on, for the given time.
    pub(super) fn start_event(&self, camera: &Arc<Camera>, for_: Duration, reason: &str) {
        let now = self.inner.clock.uptime();
        {
            let mut state = lock(&camera.state);
            let until = now + for_;
            match state.event.as_mut().filter(|event| event.until > now) {
                Some(event) => event.until = event.until.max(until),
                None => state.event = Some(Event { session: Session::new(reason), until }),
            }
        }
        self.wake_recorder(camera);
    }

    /// Ends the current event of a camera, if there is one. Later events start new recordings.
    pub(super) fn end_event(&self, id: &ModuleId) {
        if let Some(camera) = self.inner.recordings.camera(id) {
            lock(&camera.state).event = None;
            self.wake_recorder(&camera);
        }
    }

    /// Makes the recorder evaluate its plan again; starts the recorder if necessary.
    fn wake_recorder(&self, camera: &Arc<Camera>) {
        {
            let mut state = lock(&camera.state);
            let stopping = self.stopping().is_cancelled();
            let needed = state.plan(self.inner.clock.uptime(), stopping).wants_any();
            if needed && self.inner.recordings.folder.is_some() && !camera.running.send_replace(true) {
                self.inner.tasks.spawn(Recorder::new(self.clone(), Arc::clone(camera)).run());
            }
        }
        camera.plan_changed.notify_one();
    }

    /// Stops recording a camera that is about to be removed. Returns when nothing is being written any more.
    pub(crate) async fn suspend_recording(&self, id: &ModuleId) -> SuspendedRecording {
        let ended = SuspendedRecording { hub: self.clone(), camera: self.inner.recordings.camera(id) };
        if let Some(camera) = &ended.camera {
            lock(&camera.state).removed = true;
            camera.plan_changed.notify_one();
            let mut running = camera.running.subscribe();
            // The sender lives in the camera, which is in scope.
            let _ = running.wait_for(|running| !running).await;
        }
        ended
    }
}
