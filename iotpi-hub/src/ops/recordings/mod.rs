//! Recordings: settings, recording on request, reading, export and expiry.

mod control;
mod reconcile;
mod recorder;
mod triggers;

use std::time::Duration;

use bytes::Bytes;
use iotpi_core::{
    ModuleId, Timestamp,
    model::{
        page::Page,
        recording::{
            Clip, FrameSelection, MAX_RECORDING_REASON, MAX_RECORDING_TRIGGERS, Recording, RecordingMode,
            RecordingSettings, RecordingTrigger, StartRecording,
        },
    },
};
use tokio::task::spawn_blocking;

use self::reconcile::{SegmentFile, list_segment_files, reconcile};
use crate::{
    Hub,
    admission::BudgetPermit,
    auth::Caller,
    error::{HubError, Result},
    lock::lock,
    recording::{self, Export, Format, ReadFrame},
    store::{ClipQuery, PageRequest, Pages},
    ticks::Ticks,
};

/// Interval of the check for expired segments.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// Frames that one query of an export plan returns.
const STEP: u32 = 10_000;
const DAY: Duration = Duration::from_secs(86_400);

impl Hub {
    /// The recording settings of a camera and the state of its recorder.
    ///
    /// # Errors
    /// `PermissionDenied`, `NotFound` (the module), the store's.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn recording(&self, caller: &Caller, id: &ModuleId) -> Result<Recording> {
        caller.may_read()?;
        self.check_known(id)?;
        self.describe_recording(id).await
    }

    /// Sets when a camera is recorded and how long its recordings are kept. Takes effect at once.
    ///
    /// # Errors
    /// `PermissionDenied`, `NotFound` (the module), `InvalidArgument` and `TooLarge` (the settings),
    /// `Conflict` when there is no folder for recordings, the store's.
    ///
    /// # Cancel safety
    /// Either all settings are stored or none. Stored settings take effect after a restart at the latest.
    pub async fn set_recording(
        &self,
        caller: &Caller,
        id: &ModuleId,
        settings: RecordingSettings,
    ) -> Result<Recording> {
        caller.may_command()?;
        check(&settings)?;
        self.check_known(id)?;
        if settings.mode != RecordingMode::Off {
            self.check_folder()?;
        }
        self.inner.store.set_recording(id, &settings).await?;
        self.apply_recording(id, settings);
        self.describe_recording(id).await
    }

    /// Records every frame of a camera from now on, for the requested time.
    ///
    /// # Errors
    /// `PermissionDenied`, `NotFound` (the module), `InvalidArgument` (the request), `Conflict` when there is
    /// no folder for recordings, the store's.
    ///
    /// # Cancel safety
    /// The recording either starts or does not.
    pub async fn record_camera(
        &self,
        caller: &Caller,
        id: &ModuleId,
        request: &StartRecording,
    ) -> Result<Recording> {
        caller.may_command()?;
        if !(1..=3_600).contains(&request.secs) {
            return Err(HubError::invalid_argument("A recording can be 1 to 3,600 seconds long.").at("/secs"));
        }
        let requester =
            caller.identity().map_or_else(String::new, |identity| format!("asked for by {}", identity.name));
        let reason = request.reason.as_deref().unwrap_or(&requester);
        if !(1..=MAX_RECORDING_REASON).contains(&reason.chars().count()) {
            return Err(HubError::invalid_argument("A reason needs 1 to 200 characters.").at("/reason"));
        }
        self.check_known(id)?;
        self.check_folder()?;
        if self.inner.recordings.camera(id).is_none() {
            let settings = self.inner.store.recording(id).await?.unwrap_or_default();
            self.apply_recording(id, settings);
        }
        let camera = self.inner.recordings.camera_or_new(id);
        self.start_event(&camera, Duration::from_secs(request.secs.into()), reason);
        self.describe_recording(id).await
    }

    /// Ends the current event of a camera, or the recording started by [`Self::record_camera`]; does nothing
    /// if there is none. A `continuous` or `time_lapse` recording continues, and the next event starts a new
    /// recording.
    ///
    /// # Errors
    /// `PermissionDenied`, `NotFound` (the module), the store's.
    ///
    /// # Cancel safety
    /// The event either ends or does not.
    pub async fn stop_recording(&self, caller: &Caller, id: &ModuleId) -> Result<Recording> {
        caller.may_command()?;
        self.check_known(id)?;
        self.end_event(id);
        self.describe_recording(id).await
    }

    /// The clips of a camera that overlap the requested range, oldest first.
    ///
    /// # Errors
    /// `PermissionDenied`, `NotFound` (the module), `InvalidArgument` (the range, the cursor), the store's.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn recordings(
        &self,
        caller: &Caller,
        query: &ClipQuery,
        page: &PageRequest,
    ) -> Result<Page<Clip>> {
        self.check_query(caller, query)?;
        Ok(self.inner.store.clips(query, page).await?)
    }

    /// The capture times of a camera's recorded frames.
    ///
    /// # Errors
    /// As [`Self::recordings`].
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn recorded_times(
        &self,
        caller: &Caller,
        query: &ClipQuery,
        page: &PageRequest,
    ) -> Result<Page<Timestamp>> {
        self.check_query(caller, query)?;
        Ok(self.inner.store.recorded_frames(query, page).await?.map(|found| found.location.at))
    }

    /// A recorded frame and its capture time.
    ///
    /// # Errors
    /// `PermissionDenied`; `NotFound` (the module; no such frame); `Internal` when it is damaged; the
    /// store's.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn recorded_frame(
        &self,
        caller: &Caller,
        id: &ModuleId,
        at: Timestamp,
        pick: FrameSelection,
    ) -> Result<(Timestamp, Bytes)> {
        caller.may_read()?;
        self.check_known(id)?;
        let none = || HubError::not_found(format!("Camera `{id}` has no recorded frame at this time."));
        let found = self.inner.store.recorded_frame(id, at, pick).await?.ok_or_else(none)?;
        let folder = self.inner.recordings.folder.clone().ok_or_else(none)?;
        let (module_id, at) = (id.clone(), found.location.at);
        let read = spawn_blocking(move || recording::open_and_read(&folder, &module_id, &found)).await?;
        match read.map_err(|error| HubError::internal("The recording cannot be read.").caused_by(error))? {
            ReadFrame::Whole(jpeg) => Ok((at, jpeg)),
            ReadFrame::Gone => Err(none()),
            ReadFrame::Damaged => {
                self.inner.metrics.recording_errors.inc();
                Err(HubError::internal(format!(
                    "The frame recorded at {at} is damaged. Other frames may be intact."
                )))
            }
        }
    }

    /// Plans an export. Returns the plan, the length of the file if it is known, and the permit of the
    /// export.
    ///
    /// # Errors
    /// `PermissionDenied`; `NotFound` (the module; no recording in the range); `InvalidArgument` (the range);
    /// `TooLarge`; `RateLimited` when two exports of this caller or four in all are running; the store's.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(crate) async fn export_recording(
        &self,
        caller: &Caller,
        query: &ClipQuery,
        format: Format,
    ) -> Result<(Export, Option<u64>, BudgetPermit)> {
        self.check_query(caller, query)?;
        let recordings = &self.inner.recordings;
        let permit = self.inner.admission.export(caller).await?;
        let none = || HubError::not_found("There is no recording in this range.");
        let folder = recordings.folder.clone().ok_or_else(none)?;
        let mut export = Export::new(folder, query.module_id.clone());
        let mut pages = Pages::of(STEP);
        while let Some(page) = pages.next() {
            let found = pages.take(self.inner.store.recorded_frames(query, &page).await?);
            found.into_iter().try_for_each(|found| export.plan(found))?;
        }
        if export.is_empty() {
            return Err(none());
        }
        let bytes = export.begin(format)?;
        Ok((export, bytes, permit))
    }

    fn check_query(&self, caller: &Caller, query: &ClipQuery) -> Result<()> {
        caller.may_read()?;
        self.check_known(&query.module_id)?;
        match (query.since, query.until) {
            (Some(since), Some(until)) if since >= until => {
                Err(HubError::invalid_argument("`since` must be before `until`."))
            }
            _ => Ok(()),
        }
    }

    fn check_known(&self, id: &ModuleId) -> Result<()> {
        if self.inner.presence.knows(id) { Ok(()) } else { Err(HubError::no_module(id)) }
    }

    fn check_folder(&self) -> Result<()> {
        match self.inner.recordings.folder {
            Some(_) => Ok(()),
            None => Err(HubError::conflict(
                "Recordings need a folder because the database is in memory. Set `cameras.recordings`.",
            )),
        }
    }

    async fn describe_recording(&self, id: &ModuleId) -> Result<Recording> {
        let totals = self.inner.store.recording_totals(id).await?;
        let camera = self.inner.recordings.camera(id);
        let settings = match &camera {
            Some(camera) => camera.settings(),
            None => self.inner.store.recording(id).await?.unwrap_or_default(),
        };
        let activity = camera.map(|camera| camera.now(self.inner.clock.uptime())).unwrap_or_default();
        let mut recording = Recording::new(settings);
        recording.recording = activity.recording;
        recording.event_until = activity.event_left.map(|left| self.now().wall.plus(left));
        recording.paused = activity.paused;
        (recording.frames, recording.bytes) = (totals.frames, totals.bytes);
        (recording.oldest_at, recording.newest_at) = (totals.oldest_at, totals.newest_at);
        recording.skipped = activity.skipped;
        Ok(recording)
    }

    // ---- background tasks ----

    /// Starts the recorders and the maintenance of the recorded files.
    pub(crate) async fn start_recordings(&self) -> Result<()> {
        let Some(folder) = self.inner.recordings.folder.clone() else { return Ok(()) };
        // Listed before a recorder creates the first new segment.
        let files = spawn_blocking(move || list_segment_files(&folder)).await?;
        for (id, settings) in self.inner.store.all_recording().await? {
            self.apply_recording(&id, settings);
        }
        self.inner.tasks.spawn(self.clone().maintain_recordings(files));
        Ok(())
    }

    async fn maintain_recordings(self, files: std::io::Result<Vec<SegmentFile>>) {
        let Some(folder) = self.inner.recordings.folder.clone() else { return };
        match files {
            Ok(files) => {
                if let Err(error) = reconcile(&self, &folder, files).await {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "recordings could not be reconciled"
                    );
                }
            }
            // Either nothing was recorded yet, or the disk is not mounted. In both cases the index stays as
            // it is.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, folder = %folder.display(), "recordings cannot be listed"),
        }
        let mut ticks = Ticks::new(EXPIRE_EVERY, self.stopping());
        while ticks.next_or(self.inner.recordings.retention_changed.notified()).await {
            if let Err(error) = self.expire_recordings().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "old recordings could not be removed"
                );
            }
        }
    }

    /// Removes the oldest segments of each camera that exceed its limits. Cameras without settings keep
    /// everything.
    async fn expire_recordings(&self) -> Result<()> {
        for (id, camera) in self.inner.recordings.cameras() {
            if self.inner.stop.is_cancelled() {
                return Ok(());
            }
            let Some(settings) = self.inner.store.recording(&id).await? else { continue };
            let before = self.recordings_before(&settings);
            let mut over =
                self.inner.store.recording_totals(&id).await?.bytes.saturating_sub(settings.keep_bytes);
            let mut tombstones = Vec::new();
            let mut pages = Pages::new();
            'pages: while let Some(page) = pages.next() {
                for segment in pages.take(self.inner.store.segments(&id, &page).await?) {
                    let old = before.is_some_and(|before| segment.last_at < before);
                    // The segment that is being written is the newest one.
                    if (over == 0 && !old) || camera.open().as_ref() == Some(&segment.name) {
                        break 'pages;
                    }
                    over = over.saturating_sub(segment.bytes);
                    tombstones.push(segment.name);
                }
            }
            if !tombstones.is_empty() {
                self.inner.store.add_tombstones(&id, &tombstones).await?;
                self.remove_expired_files().await?;
            }
        }
        Ok(())
    }

    /// Frames captured before this time are too old. There is no such time while the hub's clock is suspect.
    fn recordings_before(&self, settings: &RecordingSettings) -> Option<Timestamp> {
        let (wall, uptime) = (self.now().wall, self.inner.clock.uptime());
        let doubt = lock(&self.inner.storage.clock).doubt(wall, uptime);
        (settings.keep_days > 0 && doubt.is_none()).then(|| wall.minus(DAY * settings.keep_days))
    }

    async fn remove_expired_files(&self) -> Result<()> {
        let Some(folder) = self.inner.recordings.folder.clone() else { return Ok(()) };
        let tombstones = self.inner.store.tombstones().await?;
        let gone = spawn_blocking(move || recording::remove_files(&folder, tombstones)).await?;
        Ok(self.inner.store.remove_tombstones(&gone).await?)
    }

    /// Removes the files of a removed camera. Files that cannot be removed now are removed at the next start.
    pub(crate) async fn remove_recordings(&self, id: &ModuleId) {
        self.inner.recordings.forget(id);
        let Some(folder) = self.inner.recordings.folder.clone() else { return };
        let id = id.clone();
        let _ = spawn_blocking(move || recording::remove_folder(&folder, &id)).await;
        if let Err(error) = self.remove_expired_files().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "recordings could not be removed");
        }
    }

    /// Publishes on the storage page why recordings are paused, or that none is.
    pub(crate) fn publish_paused_recordings(&self) {
        let paused = self.inner.recordings.paused();
        self.inner.storage.set_problem(|problems| &mut problems.recording, paused);
    }
}

fn check(settings: &RecordingSettings) -> Result<()> {
    let in_range = |field: &str, value: u64, min: u64, max: u64| {
        if (min..=max).contains(&value) {
            return Ok(());
        }
        Err(HubError::invalid_argument(format!("`{field}` must be {min} to {max}, not {value}."))
            .at(format!("/{field}")))
    };
    in_range("every_secs", settings.every_secs.into(), 1, 86_400)?;
    in_range("before_secs", settings.before_secs.into(), 0, 60)?;
    in_range("after_secs", settings.after_secs.into(), 1, 3_600)?;
    in_range("keep_days", settings.keep_days.into(), 0, 3_650)?;
    in_range("keep_bytes", settings.keep_bytes, 16_000_000, 10_000_000_000_000)?;
    let triggers = settings.triggers.len();
    if triggers > MAX_RECORDING_TRIGGERS {
        return Err(HubError::too_large(format!(
            "A camera can have at most {MAX_RECORDING_TRIGGERS} triggers, not {triggers}."
        ))
        .at("/triggers"));
    }
    settings.triggers.iter().enumerate().try_for_each(|(n, trigger)| check_trigger(n, trigger))
}

fn check_trigger(n: usize, trigger: &RecordingTrigger) -> Result<()> {
    let bounds = [trigger.above, trigger.below];
    let count = bounds.iter().flatten().count();
    let fits = match (&trigger.kind, &trigger.action) {
        (Some(_), None) => count > 0 && bounds.iter().flatten().all(|bound| bound.is_finite()),
        (None, Some(_)) => count == 0,
        _ => false,
    };
    let rule = "A trigger must be a reading (`type` with `above` or `below`) or a command (`action`).";
    if fits { Ok(()) } else { Err(HubError::invalid_argument(rule).at(format!("/triggers/{n}"))) }
}
