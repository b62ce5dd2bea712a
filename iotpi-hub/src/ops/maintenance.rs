//! Maintenance of the storage: disk space, wear, backups, damage, retention.

use std::{path::Path, time::Duration};

use iotpi_core::{Timestamp, model::error::ErrorKind};

use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    lock::lock,
    maintenance::{
        self, FreeSpace, LastBackup, Problems, Quarantined, Recovered, RetentionReport, SpaceState,
        StorageReport, backup,
    },
    store::{Eviction, ExpiryReport, StoreError},
    ticks::Ticks,
};

/// The interval of the store's own maintenance.
const MAINTAIN_STORE_EVERY: Duration = Duration::from_secs(60);
/// The interval at which written bytes are counted.
const COUNT_WEAR_EVERY: Duration = Duration::from_secs(60);
/// The interval at which they are saved: a row an hour costs a card nothing.
const NOTE_WEAR_EVERY: Duration = Duration::from_secs(3_600);
/// The interval of the check whether a backup is due.
const CHECK_BACKUP_EVERY: Duration = Duration::from_secs(600);
/// The interval of retention.
const EXPIRE_EVERY: Duration = Duration::from_secs(3_600);
/// The time from the start to the first verification of the database, and between later ones.
const SCRUB_AFTER: Duration = Duration::from_secs(3_600);
const SCRUB_EVERY: Duration = Duration::from_secs(7 * 86_400);
/// The eviction steps, of a chunk each, between two checks of the free space, and the number of such checks
/// before the next regular one.
const EVICTION_STEPS: u32 = 32;
const EVICTION_ROUNDS: usize = 16;
/// Growth below this fraction of the low-water mark is no module's fault: 4 MiB by default. If something else
/// fills the disk, small databases keep recent readings.
const SPARED_OF_MARK: u64 = 64;
/// The name of the note with the wear.
pub(crate) const WEAR: &str = "wear";

impl Hub {
    /// Returns the state of the storage.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied` (requires a viewer), the store's.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn storage(&self, caller: &Caller) -> Result<StorageReport> {
        caller.may_read()?;
        let report = self.storage_report().await?;
        if caller.may_administer().is_ok() {
            return Ok(report);
        }
        let last_backup = report.last_backup.map(|backup| LastBackup { path: None, ..backup });
        let quarantined =
            report.quarantined.into_iter().map(|one| Quarantined { path: None, ..one }).collect();
        Ok(StorageReport { last_backup, quarantined, ..report })
    }

    /// The repair of a damaged database when the hub was opened, if there was one.
    #[must_use]
    pub fn recovered(&self) -> Option<&Recovered> {
        self.inner.storage.recovered.as_ref()
    }

    /// Acknowledges the quarantined databases, which are no longer reported. Their files remain.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`, `Internal` if it cannot be saved.
    pub fn acknowledge_quarantine(&self, caller: &Caller) -> Result<()> {
        caller.may_administer()?;
        let Some(file) = &self.inner.storage.file else { return Ok(()) };
        maintenance::acknowledge(file)
            .map(drop)
            .map_err(|error| HubError::internal("the acknowledgement could not be saved").caused_by(error))
    }

    /// Makes a backup now.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`; `Conflict` if one is being made or the database is in memory;
    /// `StorageFull` if there is no space for it; the store's.
    ///
    /// # Cancel safety
    /// If cancelled, no backup is made.
    pub async fn back_up(&self, caller: &Caller) -> Result<LastBackup> {
        caller.may_administer()?;
        let Ok(_alone) = self.inner.storage.backing_up.try_lock() else {
            return Err(HubError::conflict("A backup is already running. Try again when it has finished."));
        };
        self.make_backup().await
    }

    /// Deletes data older than the retention allows, even if an automatic run would refuse to. Without
    /// `confirm` it only reports what would be deleted and whether an automatic run would refuse.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`, the store's.
    ///
    /// # Cancel safety
    /// If cancelled, a part may be deleted.
    pub async fn expire(&self, caller: &Caller, confirm: bool) -> Result<RetentionReport> {
        caller.may_administer()?;
        let now = self.now();
        let plan = maintenance::plan(&self.config().retention, now.wall);
        let would = self.inner.store.expire(&plan, true).await?;
        if !confirm {
            return Ok(RetentionReport::new(now.wall, true, self.refusal(&would), &would));
        }
        let done = self.inner.store.expire(&plan, false).await?;
        let report = RetentionReport::new(now.wall, false, None, &done);
        self.inner.storage.set_problem(|problems| &mut problems.retention, None);
        *lock(&self.inner.storage.retention) = Some(report.clone());
        Ok(report)
    }

    /// Checks that there is space for deliveries of modules.
    ///
    /// # Errors
    /// `StorageFull` if there is none, with the time of a retry.
    pub(crate) fn check_space(&self) -> Result<()> {
        if self.inner.storage.is_full() { Err(HubError::storage_full()) } else { Ok(()) }
    }

    pub(crate) async fn storage_report(&self) -> Result<StorageReport> {
        let storage = &self.inner.storage;
        let config = &self.config().storage;
        let taken = self.inner.store.disk_use().await?;
        let counted = self.count_wear();
        let wall = self.now().wall;
        let wear = lock(&storage.wear).clone();
        let problems = storage.problems();
        let quarantined = self.quarantined();
        let replaced = quarantined.iter().map(|one| {
            let instead = match &one.salvaged {
                _ if one.restored => "the newest backup replaced it",
                Some(what) => what,
                None => "a new, empty database replaced it",
            };
            format!("A damaged database was moved aside at {}; {instead}: {}", one.at, one.why)
        });
        let suspect = storage
            .file
            .as_deref()
            .is_some_and(maintenance::is_suspect)
            .then(|| "The database met a fatal error. The hub checks it at its next start.".to_owned());
        let Problems { store, backup, scrub, space, retention, recording } = problems;
        let found = [store, suspect, scrub, space, backup, retention, recording, storage.open_folder()];
        Ok(StorageReport {
            database_bytes: taken.database_bytes,
            wal_bytes: taken.wal_bytes,
            reusable_bytes: taken.reusable_bytes,
            free_bytes: storage.file.as_deref().and_then(|file| storage.machine.free_bytes(file).ok()),
            low_water_bytes: config.low_water_bytes,
            full: storage.is_full(),
            written_today_bytes: counted.then(|| wear.today(wall)),
            written_per_day_bytes: counted.then(|| wear.per_day()).flatten(),
            written_total_bytes: counted.then(|| wear.total()),
            endurance_bytes: config.endurance_bytes(),
            forecast_years: counted.then(|| wear.years_left(config.endurance_bytes())).flatten(),
            device_kind: storage.device,
            commit_window_ms: u64::try_from(storage.commit_window.as_millis()).unwrap_or(u64::MAX),
            last_backup: lock(&storage.backup).as_ref().map(last_backup),
            backup_every_hours: self.config().backup.every_hours,
            problems: replaced.chain(found.into_iter().flatten()).collect(),
            quarantined,
            retention: lock(&storage.retention).clone(),
        })
    }

    /// The quarantined databases that are not acknowledged.
    fn quarantined(&self) -> Vec<Quarantined> {
        let file = self.inner.storage.file.as_deref();
        let found = file.and_then(|file| maintenance::quarantined(file).ok()).unwrap_or_default();
        found
            .into_iter()
            .filter(|(_, _, seen)| !seen)
            .map(|(path, report, _)| Quarantined {
                at: Timestamp::from_micros(report.at_us),
                why: report.why,
                restored: report.restored.is_some(),
                salvaged: report.salvaged,
                path: Some(path.display().to_string()),
            })
            .collect()
    }

    // ---- background tasks ----

    pub(crate) fn start_maintenance(&self) {
        let tasks = &self.inner.tasks;
        tasks.spawn(self.clone().maintain_store());
        tasks.spawn(self.clone().watch_wear());
        if let Some(problem) = self.inner.storage.open_folder() {
            tracing::warn!("{problem}");
        }
        if self.inner.storage.file.is_some() {
            tasks.spawn(self.clone().watch_space());
            tasks.spawn(self.clone().watch_backups());
            tasks.spawn(self.clone().verify_periodically());
        }
        tasks.spawn(self.clone().run_retention());
    }

    /// The background task that gives the store time for its maintenance.
    async fn maintain_store(self) {
        let mut ticks = Ticks::new(MAINTAIN_STORE_EVERY, self.stopping());
        while ticks.next().await {
            if let Err(error) = self.inner.store.maintain(self.now()).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the maintenance of the store failed"
                );
            }
        }
    }

    async fn watch_space(self) {
        let storage = &self.inner.storage;
        let mut ticks = Ticks::new(storage.machine.check_interval(), self.stopping());
        while ticks.next_or(storage.space_exhausted.notified()).await {
            if let Some(Err(error)) = self.stopping().run_until_cancelled(self.check_free_space()).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the free space is unknown");
            }
        }
    }

    /// Checks the free space, evicts readings if that helps, and decides whether readings are accepted.
    pub(crate) async fn check_free_space(&self) -> Result<()> {
        let storage = &self.inner.storage;
        let mark = self.config().storage.low_water_bytes;
        let Some(file) = storage.file.as_deref().filter(|_| mark > 0) else { return Ok(()) };
        let was_low = *lock(&storage.space) != SpaceState::Enough;
        let mut state = self.free_space(file).await?.state(mark, was_low);
        let mut evicted = false;
        for _ in 0..EVICTION_ROUNDS {
            // Freed pages do not help a device that is full, so no readings are evicted in vain.
            let Some(before) = self.evict_before().filter(|_| state == SpaceState::Low) else { break };
            let eviction = Eviction { before, spared_bytes: mark / SPARED_OF_MARK, most: EVICTION_STEPS };
            if self.inner.store.evict(eviction, self.now()).await? == 0 {
                break;
            }
            evicted = true;
            state = self.free_space(file).await?.state(mark, true);
        }
        *lock(&storage.space) = state;
        let full = match state {
            SpaceState::Enough => false,
            SpaceState::Out => true,
            // Readings are accepted while eviction continues.
            SpaceState::Low => !evicted,
        };
        let problem = match (state, full) {
            (SpaceState::Enough, _) => None,
            (_, true) => Some("The disk is full. New readings are refused until space is free.".to_owned()),
            (_, false) => Some(
                "The disk is nearly full. Readings are being deleted, first those of the module whose data grew most."
                    .to_owned(),
            ),
        };
        if storage.report_problem(|problems| &mut problems.space, problem, None)
            && state == SpaceState::Enough
        {
            tracing::info!("the disk has enough free space again");
        }
        storage.set_full(full);
        Ok(())
    }

    async fn free_space(&self, file: &Path) -> Result<FreeSpace> {
        let free = self.inner.storage.machine.free_bytes(file);
        let free = free
            .map_err(|error| HubError::internal("the free space of the disk is unknown").caused_by(error))?;
        Ok(FreeSpace::new(free, self.inner.store.disk_use().await?))
    }

    /// Readings taken before this time may be evicted; none while the clock is in doubt.
    fn evict_before(&self) -> Option<Timestamp> {
        let (wall, uptime) = (self.now().wall, self.inner.clock.uptime());
        let days = Duration::from_secs(86_400) * self.config().storage.thin_keep_days;
        lock(&self.inner.storage.clock).doubt(wall, uptime).is_none().then(|| wall.minus(days))
    }

    async fn watch_wear(self) {
        let mut ticks = Ticks::new(COUNT_WEAR_EVERY, self.stopping());
        let mut noted = self.inner.clock.uptime();
        while ticks.next().await {
            self.count_wear();
            let uptime = self.inner.clock.uptime();
            if uptime.saturating_sub(noted) >= NOTE_WEAR_EVERY {
                noted = uptime;
                self.note_wear().await;
            }
        }
        if self.count_wear() {
            self.note_wear().await;
        }
    }

    async fn note_wear(&self) {
        let note = lock(&self.inner.storage.wear).note();
        if let Err(error) = self.inner.store.set_note(WEAR, &note).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the wear could not be noted");
        }
    }

    /// Counts the bytes written so far; returns whether the machine reports them.
    fn count_wear(&self) -> bool {
        let Some(written) = self.inner.storage.machine.written_bytes() else { return false };
        lock(&self.inner.storage.wear).count(written, self.inner.clock.uptime(), self.now().wall);
        true
    }

    async fn watch_backups(self) {
        let mut ticks = Ticks::new(CHECK_BACKUP_EVERY, self.stopping());
        while ticks.next().await {
            self.stopping().run_until_cancelled(self.back_up_if_due()).await;
        }
    }

    /// Makes a backup if one is due.
    pub(crate) async fn back_up_if_due(&self) {
        let storage = &self.inner.storage;
        let config = &self.config().backup;
        let every = Duration::from_secs(3_600) * config.every_hours;
        // Another backup is due or not when the running one has ended.
        let _alone = storage.backing_up.lock().await;
        let Ok(taken) = self.inner.store.disk_use().await else { return };
        let bytes = taken.database_bytes.saturating_sub(taken.reusable_bytes);
        let last = lock(&storage.backup).clone();
        let now = (self.now().wall, self.inner.clock.uptime());
        if !lock(&storage.backup_turn).is_due(last.as_ref(), config, bytes, now) {
            return;
        }
        let made = self.make_backup().await;
        let uptime = self.inner.clock.uptime();
        match made {
            Ok(_) => lock(&storage.backup_turn).made(uptime),
            // Logged already.
            Err(_) => lock(&storage.backup_turn).failed(every, uptime),
        }
    }

    /// Makes a backup. The caller holds the lock of backups.
    async fn make_backup(&self) -> Result<LastBackup> {
        let storage = &self.inner.storage;
        let (Some(file), Some(folder)) = (&storage.file, &storage.backups) else {
            return Err(HubError::conflict("A database in memory cannot be backed up."));
        };
        let made = self.backup_into(file, folder).await;
        let problem = made.as_ref().err().map(|error| format!("The backup failed: {error}"));
        let cause = made.as_ref().err().and_then(|error| std::error::Error::source(error));
        storage.report_problem(|problems| &mut problems.backup, problem, cause);
        made
    }

    async fn backup_into(&self, file: &Path, folder: &Path) -> Result<LastBackup> {
        let storage = &self.inner.storage;
        let taken = self.inner.store.disk_use().await?.database_bytes;
        let wanted = taken.saturating_add(self.config().storage.low_water_bytes);
        if storage.machine.free_bytes(&folder.join("backup")).is_ok_and(|free| free < wanted) {
            let detail =
                format!("A backup needs {taken} bytes, and {} has less free space.", folder.display());
            return Err(HubError::new(ErrorKind::StorageFull, detail));
        }
        let (made, _) = backup::make(file, folder, self.config().backup.keep, self.now().wall).await?;
        tracing::info!(file = %made.path.display(), bytes = made.bytes, "a backup was made and verified");
        let report = last_backup(&made);
        *lock(&storage.backup) = Some(made);
        Ok(report)
    }

    async fn verify_periodically(self) {
        let mut ticks = Ticks::after(SCRUB_AFTER, SCRUB_EVERY, self.stopping());
        while ticks.next().await {
            self.stopping().run_until_cancelled(self.verify_database(false)).await;
        }
    }

    /// Verifies the database, with `deep` also the readings in it. If there is damage the store fails, and
    /// the next start repairs it.
    pub(crate) async fn verify_database(&self, deep: bool) {
        let problem = match self.inner.store.verify(deep).await {
            Ok(found) => found.faults.first().map(|fault| {
                format!("The database is damaged. The hub repairs it at its next start: {fault}")
            }),
            Err(error) => Some(format!("The database could not be checked: {error}")),
        };
        self.inner.storage.report_problem(|problems| &mut problems.scrub, problem, None);
    }

    async fn run_retention(self) {
        let mut ticks = Ticks::after(EXPIRE_EVERY, EXPIRE_EVERY, self.stopping());
        while ticks.next().await {
            if let Some(Err(error)) = self.stopping().run_until_cancelled(self.expire_automatically()).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "old readings could not be removed");
            }
        }
    }

    /// Deletes data older than the retention allows, unless that is refused.
    pub(crate) async fn expire_automatically(&self) -> Result<RetentionReport> {
        let now = self.now();
        let plan = maintenance::plan(&self.config().retention, now.wall);
        let would = self.inner.store.expire(&plan, true).await?;
        let refused = self.refusal(&would);
        lock(&self.inner.storage.clock).accept(now.wall, self.inner.clock.uptime());
        let nothing = [would.raw, would.minutes, would.hours, would.days].iter().all(|of| of.deleted == 0);
        let done =
            if refused.is_some() || nothing { would } else { self.inner.store.expire(&plan, false).await? };
        // A refusal without anything to delete is not reported.
        let problem =
            refused.clone().filter(|_| !nothing).map(|why| format!("Old readings are not deleted: {why}"));
        self.inner.storage.report_problem(|problems| &mut problems.retention, problem, None);
        let report = RetentionReport::new(now.wall, refused.is_some(), refused, &done);
        *lock(&self.inner.storage.retention) = Some(report.clone());
        Ok(report)
    }

    fn refusal(&self, would: &ExpiryReport) -> Option<String> {
        let (wall, uptime) = (self.now().wall, self.inner.clock.uptime());
        let doubt = lock(&self.inner.storage.clock).doubt(wall, uptime);
        doubt.or_else(|| maintenance::refusal(would, wall))
    }

    /// A write found no space: the free space is checked at once.
    pub(crate) fn note_storage_full(&self, error: &StoreError) {
        if matches!(error, StoreError::Full(_)) {
            self.inner.storage.space_exhausted.notify_one();
        }
    }
}

fn last_backup(backup: &backup::BackupFile) -> LastBackup {
    LastBackup {
        at: backup.at,
        bytes: backup.bytes,
        verified: true,
        path: Some(backup.path.display().to_string()),
    }
}
