//! Recording of cameras: frames are appended unchanged to files, and the database has an index of them.
//!
//! `segment_files.rs` writes the files, `reader.rs` and `export.rs` read them. The tasks that record, and the
//! operations, are in `ops/recordings/`. Deliberately absent: decoding, rewriting, an unbounded queue.

mod avi;
mod export;
mod export_frame;
pub(crate) mod frame_buffer;
mod reader;
pub(crate) mod segment;
pub(crate) mod segment_files;
mod triggers;
mod zip;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use iotpi_core::{
    ModuleId,
    model::recording::{RecordingMode, RecordingSettings},
};
use tokio::sync::{Notify, watch};

pub(crate) use export::{Export, Format};
pub(crate) use reader::{ReadFrame, open_and_read, remove_files, remove_folder};

use self::{frame_buffer::Budget, segment_files::Session, triggers::Triggers};
use crate::lock::lock;

/// The recordings of all cameras.
#[derive(Debug)]
pub(crate) struct Recordings {
    /// The folder of the files; absent when there is none.
    pub(crate) folder: Option<PathBuf>,
    cameras: Mutex<HashMap<ModuleId, Arc<Camera>>>,
    pub(crate) triggers: Mutex<Triggers>,
    pub(crate) budget: Arc<Budget>,
    /// Notified when segments may have expired.
    pub(crate) retention_changed: Notify,
}

/// A camera with recording settings or a recorder.
#[derive(Debug)]
pub(crate) struct Camera {
    pub(crate) id: ModuleId,
    /// Notified when the recorder has to evaluate its plan again.
    pub(crate) plan_changed: Notify,
    pub(crate) state: Mutex<State>,
    pub(crate) running: watch::Sender<bool>,
    skipped: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) settings: RecordingSettings,
    pub(crate) event: Option<Event>,
    paused: Option<String>,
    /// The segment that is being written.
    open: Option<String>,
    pub(crate) removed: bool,
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

/// A reason to record every frame up to a time in the hub's uptime.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) session: Arc<Session>,
    pub(crate) until: Duration,
}

/// The current task of a recorder.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Record every frame, for this event.
    pub(crate) event: Option<Arc<Session>>,
    pub(crate) until: Option<Duration>,
    /// Record every frame.
    pub(crate) all: bool,
    /// Record one frame per interval.
    pub(crate) sample: Option<Duration>,
    /// Length of the pre-event buffer.
    pub(crate) before: Duration,
    pub(crate) keep_bytes: u64,
    /// The last plan: the hub stops or the camera is removed.
    pub(crate) is_last: bool,
}

impl Plan {
    /// Whether frames are recorded now.
    pub(crate) fn records(&self) -> bool {
        self.event.is_some() || self.all || self.sample.is_some()
    }

    /// Whether the recorder needs every frame.
    pub(crate) fn watches(&self) -> bool {
        self.event.is_some() || self.all || !self.before.is_zero()
    }

    /// Whether there is something to do.
    pub(crate) fn wants_any(&self) -> bool {
        self.records() || self.watches()
    }
}

impl State {
    /// The plan at the given uptime.
    pub(crate) fn plan(&mut self, now: Duration, stopping: bool) -> Plan {
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
        Self {
            id,
            plan_changed: Notify::new(),
            state: Mutex::default(),
            running: watch::Sender::new(false),
            skipped: AtomicU64::new(0),
        }
    }

    /// The plan at the given uptime.
    pub(crate) fn plan(&self, now: Duration, stopping: bool) -> Plan {
        lock(&self.state).plan(now, stopping)
    }

    /// Ends the recorder unless there is something to record again. Returns whether it ended.
    pub(crate) fn leave(&self, now: Duration, stopping: bool) -> bool {
        let mut state = lock(&self.state);
        let leaves = !state.plan(now, stopping).wants_any();
        if leaves {
            state.paused = None;
            state.open = None;
            self.running.send_replace(false);
        }
        leaves
    }

    /// Whether recording is paused.
    pub(crate) fn is_paused(&self) -> bool {
        lock(&self.state).paused.is_some()
    }

    /// Pauses recording with a reason, or resumes it. Returns whether that is a change.
    pub(crate) fn pause(&self, why: Option<String>) -> bool {
        let mut state = lock(&self.state);
        let is_new = state.paused.is_some() != why.is_some();
        state.paused = why;
        is_new
    }

    /// Records the segment that is being written.
    pub(crate) fn opened(&self, segment: Option<&str>) {
        lock(&self.state).open = segment.map(str::to_owned);
    }

    /// Counts skipped frames.
    pub(crate) fn skipped(&self, frames: u64) {
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
            triggers: Mutex::default(),
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

    /// The camera, which is created if necessary.
    pub(crate) fn camera_or_new(&self, id: &ModuleId) -> Arc<Camera> {
        let mut cameras = lock(&self.cameras);
        Arc::clone(cameras.entry(id.clone()).or_insert_with(|| Arc::new(Camera::new(id.clone()))))
    }

    /// Evaluates the plans again after a test has changed the clock.
    #[cfg(feature = "testing")]
    pub(crate) fn reevaluate_time(&self) {
        lock(&self.cameras).values().for_each(|camera| camera.plan_changed.notify_one());
        self.retention_changed.notify_one();
    }

    /// Removes the state of a removed camera.
    pub(crate) fn forget(&self, id: &ModuleId) {
        lock(&self.cameras).remove(id);
        lock(&self.triggers).remove(id);
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
