//! The task that records one camera. It never blocks: files are written on threads that may.
//!
//! At most one write is under way. What comes meanwhile waits in memory, bounded, and the newest wins.

use std::{pin::Pin, sync::Arc, time::Duration};

use iotpi_core::ViewerKind;
use tokio::{
    task,
    time::{Instant, sleep_until},
};

use super::{
    Camera, Plan,
    disk::{Files, Job, JobOutcome, Limits, Session, WriteError},
    frame_buffer::{BufferedFrame, FrameBuffer},
};
use crate::{
    Hub,
    frames::{PublishedFrame, Viewer},
    store::StoreError,
};

/// How often frames are brought to the disk and indexed; also how long they may wait in memory.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// So many bytes that wait are written at once, to be synced later.
const WRITE_AT: u64 = 512 << 10;
/// So many bytes are synced before their time.
const SYNC_AT: u64 = 8 << 20;
/// The most bytes of one write.
const MOST_AT_ONCE: u64 = 8 << 20;
/// A pause of so long ends the stretch of a continuous recording.
const PAUSE: Duration = Duration::from_secs(10);
/// A segment is no longer than this in time, or than so many frames of a time-lapse, up to a day.
const SEGMENT: Duration = Duration::from_secs(600);
const TIME_LAPSE_FRAMES: u32 = 1000;
const DAY: Duration = Duration::from_secs(86_400);
/// When what did not work is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

type Writing = Pin<Box<dyn Future<Output = (Files, JobOutcome)> + Send>>;

pub(super) struct Recorder {
    hub: Hub,
    camera: Arc<Camera>,
    viewer: Option<Viewer>,
    /// The number of the newest picture it gave.
    seen: Option<u64>,
    /// Frames from before an event that may come.
    before: FrameBuffer<()>,
    /// Frames that are to be written.
    waiting: FrameBuffer<Arc<Session>>,
    /// The stretch of a continuous recording or a time-lapse, and when it last got a frame.
    run: Option<(Arc<Session>, Duration)>,
    sample_due: Duration,
    sampled: Option<u64>,
    /// Absent while a write is under way.
    files: Option<Files>,
    writing: Option<Writing>,
    synced: Instant,
    unsynced_bytes: u64,
    try_again: Option<Instant>,
}

impl Recorder {
    pub(super) fn new(hub: Hub, camera: Arc<Camera>) -> Self {
        let budget = &hub.inner.recordings.budget;
        Self {
            viewer: None,
            seen: None,
            before: FrameBuffer::new(Arc::clone(budget)),
            waiting: FrameBuffer::new(Arc::clone(budget)),
            run: None,
            sample_due: Duration::ZERO,
            sampled: None,
            files: Self::files(&hub, &camera),
            writing: None,
            synced: Instant::now(),
            unsynced_bytes: 0,
            try_again: None,
            hub,
            camera,
        }
    }

    fn files(hub: &Hub, camera: &Camera) -> Option<Files> {
        let folder = hub.inner.recordings.folder.clone()?;
        let machine = hub.inner.storage.machine.clone();
        Some(Files::new(folder, camera.id.clone(), machine, hub.config().storage.low_water_bytes))
    }

    /// Records until there is nothing to record, the camera is removed or the hub stops.
    pub(super) async fn run(mut self) {
        let stop = self.hub.stopping().clone();
        loop {
            let stopping = stop.is_cancelled();
            let now = self.hub.inner.clock.uptime();
            let plan = self.camera.plan(now, stopping);
            self.follow(&plan, now);
            self.begin_writing(&plan);
            if self.writing.is_none()
                && !plan.wants_any()
                && self.is_done()
                && self.camera.leave(now, stopping)
            {
                return;
            }
            let wake = self.wake(&plan, now);
            tokio::select! {
                done = async { match &mut self.writing { Some(writing) => writing.await, None => std::future::pending().await } } => {
                    self.wrote(done, plan.is_last);
                }
                shown = async { match &mut self.viewer { Some(viewer) => viewer.next().await, None => std::future::pending().await } } => {
                    match shown {
                        Some(shown) => self.came(shown, &plan),
                        // Removed; if the module comes back, it is watched again.
                        None => {
                            self.viewer = None;
                            self.seen = None;
                            self.later();
                        }
                    }
                }
                () = self.camera.bell.notified() => {}
                () = stop.cancelled(), if !stopping => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Does what the plan says beside taking frames: watches or not, begins an event, takes the frame of a time-lapse.
    fn follow(&mut self, plan: &Plan, now: Duration) {
        if !plan.watches() {
            self.viewer = None;
            self.seen = None;
        } else if self.viewer.is_none() && self.try_again.is_none_or(|at| at <= Instant::now()) {
            match self.hub.watch(&self.camera.id, ViewerKind::Recording) {
                Ok(viewer) => self.viewer = Some(viewer),
                Err(_) => self.later(),
            }
        }
        self.before.forget_before(now.saturating_sub(plan.before));
        if plan.before.is_zero() {
            self.before.forget_before(Duration::MAX);
        }
        if let Some(event) = &plan.event {
            while let Some(BufferedFrame { shown, came, .. }) = self.before.pop() {
                self.keep(shown, came, event);
            }
        }
        if let Some(every) = plan.sample
            && now >= self.sample_due
            && let Some(newest) = self.hub.newest_frame(&self.camera.id)
            && self.sampled != Some(newest.seq)
            && self.hub.now().wall.since(newest.received_at) <= every.max(PAUSE)
        {
            self.sampled = Some(newest.seq);
            self.sample_due =
                if self.sample_due + every > now { self.sample_due + every } else { now + every };
            let tag = self.stretch("time_lapse", every * 3, now);
            self.keep(newest, now, &tag);
        }
    }

    fn came(&mut self, shown: Arc<PublishedFrame>, plan: &Plan) {
        // Newest wins here too: what came while this task had no turn is counted.
        let passed_by = self.seen.replace(shown.seq).map_or(0, |last| shown.seq.saturating_sub(last + 1));
        if plan.records() && passed_by > 0 {
            self.skipped(passed_by);
        }
        if shown.no_signal {
            return;
        }
        let now = self.hub.inner.clock.uptime();
        if let Some(event) = &plan.event {
            self.keep(shown, now, event);
        } else if plan.all {
            let tag = self.stretch("continuous", PAUSE, now);
            self.keep(shown, now, &tag);
        } else if !plan.before.is_zero() {
            // What goes for want of room was not to be recorded yet.
            self.before.push(BufferedFrame { shown, came: now, tag: () });
            self.before.forget_before(now.saturating_sub(plan.before));
        }
    }

    /// The stretch that a frame belongs to which came now.
    fn stretch(&mut self, reason: &str, pause: Duration, now: Duration) -> Arc<Session> {
        let goes_on =
            self.run.take().filter(|(tag, last)| tag.reason == reason && now.saturating_sub(*last) <= pause);
        let tag = goes_on.map_or_else(|| Session::new(reason), |(tag, _)| tag);
        self.run = Some((Arc::clone(&tag), now));
        tag
    }

    fn keep(&mut self, shown: Arc<PublishedFrame>, came: Duration, tag: &Arc<Session>) {
        let skipped = if self.camera.is_paused() {
            1
        } else {
            self.waiting.push(BufferedFrame { shown, came, tag: Arc::clone(tag) })
        };
        self.skipped(skipped);
    }

    fn skipped(&self, frames: u64) {
        self.camera.skipped(frames);
        self.hub.inner.metrics.recording_skipped.add(frames);
    }

    /// Begins a write if it is time for one.
    fn begin_writing(&mut self, plan: &Plan) {
        let Some(files) = self.files.take_if(|_| self.writing.is_none()) else { return };
        let now = Instant::now();
        let due = now >= self.synced + SYNC_EVERY;
        let records = plan.records();
        let begin = if self.camera.is_paused() {
            // Nothing but a look whether it would work now.
            plan.is_last || self.try_again.is_none_or(|at| at <= now)
        } else if records {
            self.waiting.bytes() >= WRITE_AT || (due && (!self.waiting.is_empty() || files.is_dirty()))
        } else {
            !self.waiting.is_empty() || files.is_open() || files.is_dirty()
        };
        if !begin {
            self.files = Some(files);
            return;
        }
        let mut frames = Vec::new();
        let mut bytes = 0;
        while bytes < MOST_AT_ONCE
            && let Some(held) = self.waiting.pop()
        {
            bytes += held.shown.frame.jpeg().len() as u64;
            frames.push(held);
        }
        self.unsynced_bytes += bytes;
        let sync = due || !records || self.unsynced_bytes >= SYNC_AT;
        if sync {
            self.synced = now;
            self.unsynced_bytes = 0;
        }
        let time = plan.sample.map_or(SEGMENT, |every| (every * TIME_LAPSE_FRAMES).clamp(SEGMENT, DAY));
        let limits = Limits::new(plan.keep_bytes, time);
        let close = !records && self.waiting.is_empty();
        let job = Job { frames, sync, close, limits, now: self.hub.now().wall };
        let writing = write(self.hub.clone(), Arc::clone(&self.camera), files, job);
        self.writing = Some(Box::pin(writing));
    }

    fn wrote(&mut self, (files, done): (Files, JobOutcome), is_last: bool) {
        self.writing = None;
        self.camera.opened(files.open_name());
        self.files = Some(files);
        self.skipped(done.lost);
        let why = done.trouble.as_ref().map(why);
        if let Some(trouble) = &done.trouble {
            self.hub.inner.metrics.recording_errors.add(1);
            let lost = self.waiting.len() as u64;
            self.waiting.forget_before(Duration::MAX);
            self.skipped(lost);
            self.try_again = Some(Instant::now() + self.hub.inner.storage.machine.look_every());
            let removed = matches!(trouble, WriteError::Index(StoreError::NotFound(_)));
            if is_last || removed {
                // What is on the disk is indexed at the next start.
                self.files = Self::files(&self.hub, &self.camera);
            }
        }
        if self.camera.pause(why.clone()) {
            let camera = &self.camera.id;
            match why {
                Some(why) => tracing::error!(%camera, "recording waits: {why}"),
                None => tracing::info!(%camera, "recording goes on"),
            }
            self.hub.publish_paused_recordings();
        }
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty()
            && self.files.as_ref().is_none_or(|files| !files.is_open() && !files.is_dirty())
    }

    fn later(&mut self) {
        self.try_again = Some(Instant::now() + TRY_AGAIN);
    }

    /// When there is something to do though nothing comes.
    fn wake(&self, plan: &Plan, now: Duration) -> Instant {
        let real = Instant::now();
        let mut wake = real + Duration::from_secs(3600);
        let dirty = !self.waiting.is_empty() || self.files.as_ref().is_some_and(Files::is_dirty);
        if self.writing.is_none() && dirty && !self.camera.is_paused() {
            wake = wake.min(self.synced + SYNC_EVERY);
        }
        if self.writing.is_none() && (self.camera.is_paused() || (plan.watches() && self.viewer.is_none())) {
            wake = wake.min(self.try_again.unwrap_or(real + TRY_AGAIN));
        }
        if let Some(until) = plan.until {
            wake = wake.min(real + until.saturating_sub(now));
        }
        if plan.sample.is_some() {
            // One that is due and has no frame yet is looked at again soon.
            wake = wake.min(real + self.sample_due.saturating_sub(now).max(TRY_AGAIN));
        }
        wake
    }
}

/// Writes, syncs, and then says where the frames lie.
async fn write(hub: Hub, camera: Arc<Camera>, mut files: Files, job: Job) -> (Files, JobOutcome) {
    let worked = task::spawn_blocking(move || {
        let done = files.work(job);
        (files, done)
    });
    let (mut files, mut done) = match worked.await {
        Ok(worked) => worked,
        // Only a panic comes here, or the end of the runtime; what was on the disk is indexed at the next start.
        Err(error) => {
            let files = Recorder::files(&hub, &camera);
            let trouble = Some(WriteError::Failed(std::io::Error::other(error)));
            return match files {
                Some(files) => (files, JobOutcome { lost: 0, trouble }),
                None => std::future::pending().await,
            };
        }
    };
    while let Some(footage) = files.ready.first() {
        match hub.store().index_footage(footage).await {
            Ok(()) => {
                let metrics = &hub.inner.metrics;
                metrics.recorded_frames.add(footage.frames.len() as u64);
                metrics.recorded_bytes.add(footage.frames.iter().map(|spot| u64::from(spot.length)).sum());
                files.ready.remove(0);
            }
            Err(error) => {
                done.trouble.get_or_insert(WriteError::Index(error));
                break;
            }
        }
    }
    (files, done)
}

fn why(trouble: &WriteError) -> String {
    match trouble {
        WriteError::NoRoom(free) => {
            format!("only {free} bytes are free on the disk, and they are reserved for readings")
        }
        WriteError::Failed(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            "the disk is full".to_owned()
        }
        WriteError::Failed(error) => format!("the disk failed: {error}"),
        WriteError::Index(StoreError::Full(_)) => "the database has no space for the index".to_owned(),
        WriteError::Index(error) => format!("the index could not be written: {error}"),
    }
}
