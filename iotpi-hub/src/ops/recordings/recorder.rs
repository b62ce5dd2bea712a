//! The task that records one camera. It never blocks: files are written on blocking threads.
//!
//! At most one write is running. Frames that arrive meanwhile wait in a bounded buffer, which drops the
//! oldest first.

use std::{pin::Pin, sync::Arc, time::Duration};

use iotpi_core::model::camera::ViewerKind;
use tokio::{
    task,
    time::{Instant, sleep_until},
};

use crate::{
    Hub,
    frames::{PublishedFrame, Viewer},
    recording::{
        Camera, Plan,
        frame_buffer::{BufferedFrame, FrameBuffer},
        segment_files::{SegmentFiles, SegmentLimits, Session, WriteError, WriteJob, WriteOutcome},
    },
    store::StoreError,
};

/// Interval at which frames are synced and indexed; also their longest time in the buffer.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Buffered bytes at which a write starts before the next sync.
const WRITE_AT: u64 = 512 << 10;
/// Unsynced bytes at which a sync starts before its time.
const SYNC_AT: u64 = 8 << 20;
/// Maximum bytes of one write.
const MAX_WRITE_BYTES: u64 = 8 << 20;
/// A pause of this length ends the clip of a continuous recording.
const PAUSE: Duration = Duration::from_secs(10);
/// Maximum duration of a segment. Segments of a time lapse may have [`TIME_LAPSE_FRAMES`] frames instead, up
/// to a day.
const SEGMENT: Duration = Duration::from_secs(600);
const TIME_LAPSE_FRAMES: u32 = 1000;
const DAY: Duration = Duration::from_secs(86_400);
/// Delay before a failed action is retried.
const TRY_AGAIN: Duration = Duration::from_secs(1);

type Writing = Pin<Box<dyn Future<Output = (SegmentFiles, WriteOutcome)> + Send>>;

pub(super) struct Recorder {
    hub: Hub,
    camera: Arc<Camera>,
    viewer: Option<Viewer>,
    /// Sequence number of the newest frame from the viewer.
    seen: Option<u64>,
    /// The pre-event buffer.
    before: FrameBuffer<()>,
    /// Frames that are waiting to be written.
    waiting: FrameBuffer<Arc<Session>>,
    /// The session of a continuous recording or time lapse, and the arrival of its newest frame.
    run: Option<(Arc<Session>, Duration)>,
    sample_due: Duration,
    sampled: Option<u64>,
    /// Absent while a write is running.
    files: Option<SegmentFiles>,
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

    fn files(hub: &Hub, camera: &Camera) -> Option<SegmentFiles> {
        let folder = hub.inner.recordings.folder.clone()?;
        let machine = hub.inner.storage.machine.clone();
        Some(SegmentFiles::new(folder, camera.id.clone(), machine, hub.config().storage.low_water_bytes))
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
                published = async { match &mut self.viewer { Some(viewer) => viewer.next().await, None => std::future::pending().await } } => {
                    match published {
                        Some(published) => self.came(published, &plan),
                        // The camera was removed. If the module comes back, it is watched again.
                        None => {
                            self.viewer = None;
                            self.seen = None;
                            self.later();
                        }
                    }
                }
                () = self.camera.plan_changed.notified() => {}
                () = stop.cancelled(), if !stopping => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Carries out the plan apart from receiving frames: starts or stops watching, moves the pre-event buffer
    /// into an event, takes the frame of a time lapse.
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
            while let Some(BufferedFrame { published, came, .. }) = self.before.pop() {
                self.keep(published, came, event);
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
            let session = self.clip("time_lapse", every * 3, now);
            self.keep(newest, now, &session);
        }
    }

    fn came(&mut self, published: Arc<PublishedFrame>, plan: &Plan) {
        // Frames that arrived while this task did not run are counted as skipped.
        let skipped =
            self.seen.replace(published.seq).map_or(0, |last| published.seq.saturating_sub(last + 1));
        if plan.records() && skipped > 0 {
            self.skipped(skipped);
        }
        if published.no_signal {
            return;
        }
        let now = self.hub.inner.clock.uptime();
        if let Some(event) = &plan.event {
            self.keep(published, now, event);
        } else if plan.all {
            let session = self.clip("continuous", PAUSE, now);
            self.keep(published, now, &session);
        } else if !plan.before.is_zero() {
            // Frames dropped from the pre-event buffer are not counted: they were not to be recorded yet.
            self.before.push(BufferedFrame { published, came: now, session: () });
            self.before.forget_before(now.saturating_sub(plan.before));
        }
    }

    /// The session of a frame that arrives now.
    fn clip(&mut self, reason: &str, pause: Duration, now: Duration) -> Arc<Session> {
        let current = self
            .run
            .take()
            .filter(|(session, last)| session.reason == reason && now.saturating_sub(*last) <= pause);
        let session = current.map_or_else(|| Session::new(reason), |(session, _)| session);
        self.run = Some((Arc::clone(&session), now));
        session
    }

    fn keep(&mut self, published: Arc<PublishedFrame>, came: Duration, session: &Arc<Session>) {
        let skipped = if self.camera.is_paused() {
            1
        } else {
            self.waiting.push(BufferedFrame { published, came, session: Arc::clone(session) })
        };
        self.skipped(skipped);
    }

    fn skipped(&self, frames: u64) {
        self.camera.skipped(frames);
        self.hub.inner.metrics.recording_skipped.inc_by(frames);
    }

    /// Starts a write if one is due.
    fn begin_writing(&mut self, plan: &Plan) {
        let Some(files) = self.files.take_if(|_| self.writing.is_none()) else { return };
        let now = Instant::now();
        let due = now >= self.synced + SYNC_EVERY;
        let records = plan.records();
        let begin = if self.camera.is_paused() {
            // While paused, an empty write checks whether writing works again.
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
        while bytes < MAX_WRITE_BYTES
            && let Some(buffered) = self.waiting.pop()
        {
            bytes += buffered.published.frame.jpeg().len() as u64;
            frames.push(buffered);
        }
        self.unsynced_bytes += bytes;
        let sync = due || !records || self.unsynced_bytes >= SYNC_AT;
        if sync {
            self.synced = now;
            self.unsynced_bytes = 0;
        }
        let time = plan.sample.map_or(SEGMENT, |every| (every * TIME_LAPSE_FRAMES).clamp(SEGMENT, DAY));
        let limits = SegmentLimits::new(plan.keep_bytes, time);
        let close = !records && self.waiting.is_empty();
        let job = WriteJob { frames, sync, close, limits, now: self.hub.now().wall };
        let writing = write(self.hub.clone(), Arc::clone(&self.camera), files, job);
        self.writing = Some(Box::pin(writing));
    }

    fn wrote(&mut self, (files, done): (SegmentFiles, WriteOutcome), is_last: bool) {
        self.writing = None;
        self.camera.opened(files.open_name());
        self.files = Some(files);
        self.skipped(done.lost);
        let why = done.error.as_ref().map(why);
        if let Some(error) = &done.error {
            self.hub.inner.metrics.recording_errors.inc();
            let lost = self.waiting.len() as u64;
            self.waiting.forget_before(Duration::MAX);
            self.skipped(lost);
            self.try_again = Some(Instant::now() + self.hub.inner.storage.machine.check_interval());
            let removed = matches!(error, WriteError::Index(StoreError::NotFound(_)));
            if is_last || removed {
                // Frames that are on disk are indexed at the next start.
                self.files = Self::files(&self.hub, &self.camera);
            }
        }
        if self.camera.pause(why.clone()) {
            let camera = &self.camera.id;
            match why {
                Some(why) => tracing::error!(%camera, "recording is paused: {why}"),
                None => tracing::info!(%camera, "recording resumed"),
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

    /// When to evaluate the plan again if nothing else happens.
    fn wake(&self, plan: &Plan, now: Duration) -> Instant {
        let real = Instant::now();
        let mut wake = real + Duration::from_secs(3600);
        let dirty = !self.waiting.is_empty() || self.files.as_ref().is_some_and(SegmentFiles::is_dirty);
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
            // If a frame is due and has not arrived, check again soon.
            wake = wake.min(real + self.sample_due.saturating_sub(now).max(TRY_AGAIN));
        }
        wake
    }
}

/// Writes and syncs frames, then indexes them.
async fn write(
    hub: Hub,
    camera: Arc<Camera>,
    mut files: SegmentFiles,
    job: WriteJob,
) -> (SegmentFiles, WriteOutcome) {
    let worked = task::spawn_blocking(move || {
        let done = files.work(job);
        (files, done)
    });
    let (mut files, mut done) = match worked.await {
        Ok(worked) => worked,
        // Only a panic or the end of the runtime leads here. Frames that are on disk are indexed at the next
        // start.
        Err(error) => {
            let files = Recorder::files(&hub, &camera);
            let error = Some(WriteError::Failed(std::io::Error::other(error)));
            return match files {
                Some(files) => (files, WriteOutcome { lost: 0, error }),
                None => std::future::pending().await,
            };
        }
    };
    while let Some(indexed) = files.ready.first() {
        match hub.inner.store.index_frames(indexed).await {
            Ok(()) => {
                let metrics = &hub.inner.metrics;
                metrics.recorded_frames.inc_by(indexed.frames.len() as u64);
                metrics
                    .recorded_bytes
                    .inc_by(indexed.frames.iter().map(|location| u64::from(location.length)).sum());
                files.ready.remove(0);
            }
            Err(error) => {
                done.error.get_or_insert(WriteError::Index(error));
                break;
            }
        }
    }
    (files, done)
}

fn why(error: &WriteError) -> String {
    match error {
        WriteError::LowSpace(free) => {
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
