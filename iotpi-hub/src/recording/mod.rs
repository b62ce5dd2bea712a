//! Recording of cameras: frames are appended unchanged to files, and the database has an index of them.
//!
//! `reader.rs` and `export.rs` read the files, `triggers.rs` starts recordings on events. Deliberately
//! absent: decoding, rewriting, an unbounded queue.

mod avi;
mod export;
mod export_frame;
mod frame_buffer;
mod reader;
mod reconcile;
mod recorder;
mod segment;
mod segment_files;
mod triggers;
mod zip;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use iotpi_core::{ModuleId, RecordingMode, RecordingSettings};
use tokio::sync::{Notify, watch};

pub(crate) use export::{Export, Format};
pub(crate) use reader::{ReadFrame, open_and_read, remove_files, remove_folder};
pub(crate) use reconcile::{SegmentFile, list_segment_files, reconcile};

use self::{frame_buffer::Budget, recorder::Recorder, segment_files::Session, triggers::Triggers};
use crate::{Hub, lock::lock};

/// The recordings of all cameras.
#[derive(Debug)]
pub(crate) struct Recordings {
    /// The folder of the files; absent when there is none.
    pub(crate) folder: Option<PathBuf>,
    cameras: Mutex<HashMap<ModuleId, Arc<Camera>>>,
    triggers: RwLock<Triggers>,
    budget: Arc<Budget>,
    /// Notified when segments may have expired.
    pub(crate) retention_changed: Notify,
}

/// A camera with recording settings or a recorder.
#[derive(Debug)]
pub(crate) struct Camera {
    id: ModuleId,
    bell: Notify,
    state: Mutex<State>,
    running: watch::Sender<bool>,
    skipped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    settings: RecordingSettings,
    event: Option<Event>,
    paused: Option<String>,
    /// The segment that is being written.
    open: Option<String>,
    removed: bool,
}

/// State of a camera's recorder.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Whether frames are recorded.
    pub(crate) recording: bool,
    /// Remaining time of the current event, if there is one.
    pub(crate) event_left: Option<Duration>,
    /// Why recording is paused; `None` when it is not.
    pub(crate) paused: Option<String>,
    /// Frames skipped since the hub started.
    pub(crate) skipped: u64,
}

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
            self.hub.inner.recordings.wake(&self.hub, &camera);
        }
    }
}

/// A reason to record every frame up to a time in the hub's uptime.
#[derive(Debug, Clone)]
struct Event {
    session: Arc<Session>,
    until: Duration,
}

/// What the recorder has to do now.
#[derive(Debug)]
struct Plan {
    /// Record every frame, for this event.
    event: Option<Arc<Session>>,
    until: Option<Duration>,
    /// Record every frame.
    all: bool,
    /// Record one frame per interval.
    sample: Option<Duration>,
    /// Length of the pre-event buffer.
    before: Duration,
    keep_bytes: u64,
    /// The last plan: the hub stops or the camera is removed.
    is_last: bool,
}

impl Plan {
    /// Whether frames are recorded now.
    fn records(&self) -> bool {
        self.event.is_some() || self.all || self.sample.is_some()
    }

    /// Whether the recorder needs every frame.
    fn watches(&self) -> bool {
        self.event.is_some() || self.all || !self.before.is_zero()
    }

    fn wants_any(&self) -> bool {
        self.records() || self.watches()
    }
}

impl State {
    fn plan(&mut self, now: Duration, stopping: bool) -> Plan {
        self.event.take_if(|event| event.until <= now);
        let is_last = stopping || self.removed;
        let mode = if is_last { RecordingMode::Off } else { self.settings.mode };
        let event = self.event.as_ref().filter(|_| !is_last);
        let secs = |secs: u32| Duration::from_secs(secs.into());
        Plan {
            event: event.map(|event| Arc::clone(&event.session)),
            until: event.map(|event| event.until),
            all: mode == RecordingMode::Continuous,
            sample: (mode == RecordingMode::TimeLapse).then(|| secs(self.settings.every_secs)),
            before: if mode == RecordingMode::OnEvent {
                secs(self.settings.before_secs)
            } else {
                Duration::ZERO
            },
            keep_bytes: self.settings.keep_bytes,
            is_last,
        }
    }
}

impl Camera {
    fn new(id: ModuleId) -> Self {
        let (bell, state) = (Notify::new(), Mutex::default());
        Self { id, bell, state, running: watch::Sender::new(false), skipped: AtomicU64::new(0) }
    }

    fn plan(&self, now: Duration, stopping: bool) -> Plan {
        lock(&self.state).plan(now, stopping)
    }

    /// Ends the recorder unless there is something to record again. Returns whether it ended.
    fn leave(&self, now: Duration, stopping: bool) -> bool {
        let mut state = lock(&self.state);
        let leaves = !state.plan(now, stopping).wants_any();
        if leaves {
            state.paused = None;
            state.open = None;
            self.running.send_replace(false);
        }
        leaves
    }

    fn is_paused(&self) -> bool {
        lock(&self.state).paused.is_some()
    }

    /// Pauses recording with a reason, or resumes it. Returns whether that is a change.
    fn pause(&self, why: Option<String>) -> bool {
        let mut state = lock(&self.state);
        let is_new = state.paused.is_some() != why.is_some();
        state.paused = why;
        is_new
    }

    fn opened(&self, segment: Option<&str>) {
        lock(&self.state).open = segment.map(str::to_owned);
    }

    fn skipped(&self, frames: u64) {
        self.skipped.fetch_add(frames, Relaxed);
    }

    /// The recording settings.
    pub(crate) fn settings(&self) -> RecordingSettings {
        lock(&self.state).settings.clone()
    }

    /// The segment that is being written.
    pub(crate) fn open(&self) -> Option<String> {
        lock(&self.state).open.clone()
    }

    /// State of the recorder at the given uptime.
    pub(crate) fn now(&self, uptime: Duration) -> Activity {
        let mut state = lock(&self.state);
        let plan = state.plan(uptime, false);
        Activity {
            recording: plan.records() && state.paused.is_none(),
            event_left: plan.until.map(|until| until.saturating_sub(uptime)),
            paused: state.paused.clone(),
            skipped: self.skipped.load(Relaxed),
        }
    }
}

impl Recordings {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            cameras: Mutex::default(),
            triggers: RwLock::default(),
            budget: Arc::default(),
            retention_changed: Notify::new(),
        }
    }

    /// The camera, if it has settings or a recorder.
    pub(crate) fn camera(&self, id: &ModuleId) -> Option<Arc<Camera>> {
        lock(&self.cameras).get(id).cloned()
    }

    pub(crate) fn cameras(&self) -> Vec<(ModuleId, Arc<Camera>)> {
        lock(&self.cameras).iter().map(|(id, camera)| (id.clone(), Arc::clone(camera))).collect()
    }

    fn camera_or_new(&self, id: &ModuleId) -> Arc<Camera> {
        let mut cameras = lock(&self.cameras);
        Arc::clone(cameras.entry(id.clone()).or_insert_with(|| Arc::new(Camera::new(id.clone()))))
    }

    /// Applies new settings.
    pub(crate) fn set(&self, hub: &Hub, id: &ModuleId, settings: RecordingSettings) {
        let camera = self.camera_or_new(id);
        let is_on_event = settings.mode == RecordingMode::OnEvent;
        self.set_triggers(hub, &camera, if is_on_event { &settings.triggers } else { &[] });
        {
            let mut state = lock(&camera.state);
            // The mode `off` ends the current event at once.
            state.event.take_if(|_| settings.mode == RecordingMode::Off);
            state.settings = settings;
        }
        self.wake(hub, &camera);
        self.retention_changed.notify_one();
    }

    /// Records every frame of a camera from now on, for the given time.
    pub(crate) fn record(&self, hub: &Hub, id: &ModuleId, for_: Duration, reason: &str) {
        self.event(hub, &self.camera_or_new(id), for_, reason);
    }

    /// Ends the current event of a camera, if there is one. Later events start new recordings.
    pub(crate) fn stop(&self, hub: &Hub, id: &ModuleId) {
        if let Some(camera) = self.camera(id) {
            lock(&camera.state).event = None;
            self.wake(hub, &camera);
        }
    }

    fn event(&self, hub: &Hub, camera: &Arc<Camera>, for_: Duration, reason: &str) {
        let now = hub.inner.clock.uptime();
        {
            let mut state = lock(&camera.state);
            let until = now + for_;
            match state.event.as_mut().filter(|event| event.until > now) {
                Some(event) => event.until = event.until.max(until),
                None => state.event = Some(Event { session: Session::new(reason), until }),
            }
        }
        self.wake(hub, camera);
    }

    /// Makes the recorder evaluate its plan again; starts the recorder if necessary.
    fn wake(&self, hub: &Hub, camera: &Arc<Camera>) {
        {
            let mut state = lock(&camera.state);
            let stopping = hub.stopping().is_cancelled();
            let wanted = state.plan(hub.inner.clock.uptime(), stopping).wants_any();
            if wanted && self.folder.is_some() && !camera.running.send_replace(true) {
                hub.inner.tasks.spawn(Recorder::new(hub.clone(), Arc::clone(camera)).run());
            }
        }
        camera.bell.notify_one();
    }

    /// Evaluates the plans again after a test has changed the clock.
    #[cfg(feature = "testing")]
    pub(crate) fn reevaluate_time(&self) {
        lock(&self.cameras).values().for_each(|camera| camera.bell.notify_one());
        self.retention_changed.notify_one();
    }

    /// Stops recording a camera that is about to be removed. Returns when nothing is being written any more.
    pub(crate) async fn end(&self, hub: &Hub, id: &ModuleId) -> SuspendedRecording {
        let ended = SuspendedRecording { hub: hub.clone(), camera: self.camera(id) };
        if let Some(camera) = &ended.camera {
            lock(&camera.state).removed = true;
            camera.bell.notify_one();
            let mut running = camera.running.subscribe();
            // The sender lives in the camera, which is in scope.
            let _ = running.wait_for(|running| !running).await;
        }
        ended
    }

    /// Removes the state of a removed camera.
    pub(crate) fn forget(&self, id: &ModuleId) {
        lock(&self.cameras).remove(id);
        self.remove_triggers(id);
    }

    /// Why a camera's recording is paused, if one is.
    pub(crate) fn paused(&self) -> Option<String> {
        let cameras = self.cameras();
        let mut paused: Vec<_> = cameras
            .iter()
            .filter_map(|(id, camera)| lock(&camera.state).paused.as_ref().map(|why| (id, why.clone())))
            .collect();
        paused.sort();
        paused.first().map(|(id, why)| format!("The recording of `{id}` is paused: {why}"))
    }
}
