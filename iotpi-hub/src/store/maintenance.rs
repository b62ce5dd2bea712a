//! Maintenance of the store: space, expiry, verification, backup.

use std::{fmt, path::Path};

use async_trait::async_trait;
use iotpi_core::{ModuleId, SensorType, Timestamp};

use super::{Now, Result};

/// The disk space of the store, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUse {
    /// The size of the database, including reusable space.
    pub database_bytes: u64,
    /// The size of the write-ahead log file.
    pub wal_bytes: u64,
    /// Free space inside the database, which is used before the file grows.
    pub reusable_bytes: u64,
}

/// The result of verifying a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Whether all checks ran, or only the quick ones.
    pub deep: bool,
    /// The version of the schema.
    pub version: usize,
    /// The number of rows of each table, by name.
    pub rows: Vec<(String, u64)>,
    /// The faults found, one sentence each; empty if the database is sound.
    pub faults: Vec<String>,
}

impl Verification {
    /// Whether no fault was found.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

/// The data saved from a damaged database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Salvaged {
    /// The number of readings saved.
    pub readings: u64,
    /// The number of readings lost, as far as the database shows.
    pub readings_lost: u64,
    /// The number of series saved.
    pub series: u64,
    /// The number of modules saved.
    pub modules: u64,
    /// The number of users saved.
    pub users: u64,
    /// The number of tokens saved.
    pub tokens: u64,
    /// The number of commands saved.
    pub commands: u64,
    /// The tables of which some rows could not be saved.
    pub damaged: Vec<String>,
}

impl Salvaged {
    /// Whether everything except readings was saved.
    #[must_use]
    pub fn has_all_but_readings(&self) -> bool {
        let of_readings = ["chunks", "wal", "rollups", "rollup_blocks", "series"];
        self.damaged.iter().all(|table| of_readings.contains(&table.as_str()))
    }
}

impl fmt::Display for Salvaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { readings, series, modules, users, tokens, commands, .. } = self;
        write!(
            f,
            "{readings} readings of {series} series, {modules} modules, {users} users, {tokens} tokens and {commands} \
             commands were saved"
        )?;
        if self.readings_lost > 0 {
            write!(f, ", {} readings were lost", self.readings_lost)?;
        }
        if !self.damaged.is_empty() {
            write!(f, "; damaged were: {}", self.damaged.join(", "))?;
        }
        Ok(())
    }
}

/// A backup that was made and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// The size in bytes.
    pub bytes: u64,
    /// The number of rows of each table, by name; the same in the backup and in the store.
    pub rows: Vec<(String, u64)>,
}

/// The limits of freeing space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eviction {
    /// If no writer is over its share, readings taken before this time are deleted.
    pub before: Timestamp,
    /// A writer whose data grew by at most this many bytes is not over its share: it did not fill the disk.
    pub spared_bytes: u64,
    /// The maximum number of steps.
    pub most: u32,
}

/// The times before which recorded data may be deleted. `None` is never.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpiryPlan {
    /// Readings taken before this time are deleted, unless a rule in `series` applies.
    pub raw_before: Option<Timestamp>,
    /// Rollups of minutes that ended before this time are deleted.
    pub minutes_before: Option<Timestamp>,
    /// Rollups of hours that ended before this time are deleted.
    pub hours_before: Option<Timestamp>,
    /// Rollups of days that ended before this time are deleted.
    pub days_before: Option<Timestamp>,
    /// Rules for single series; the first that matches applies.
    pub series: Vec<SeriesExpiry>,
}

impl ExpiryPlan {
    /// The time before which readings of this series are deleted.
    #[must_use]
    pub fn raw_before(&self, module_id: &ModuleId, sensor: &SensorType) -> Option<Timestamp> {
        let fits = |rule: &&SeriesExpiry| {
            rule.module_id.as_ref().is_none_or(|id| id == module_id)
                && rule.sensor.as_ref().is_none_or(|kind| kind == sensor)
        };
        self.series.iter().find(fits).map_or(self.raw_before, |rule| rule.raw_before)
    }

    /// The time before which gaps in the readings of this series are deleted, which is that of the readings.
    /// Without a type: of gaps whose series is unknown.
    #[must_use]
    pub fn gaps_before(&self, module_id: &ModuleId, sensor: Option<&SensorType>) -> Option<Timestamp> {
        if let Some(sensor) = sensor {
            return self.raw_before(module_id, sensor);
        }
        let of_module = |rule: &&SeriesExpiry| {
            rule.sensor.is_none() && rule.module_id.as_ref().is_none_or(|id| id == module_id)
        };
        self.series.iter().find(of_module).map_or(self.raw_before, |rule| rule.raw_before)
    }
}

/// The retention of the readings of some series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesExpiry {
    /// The module; `None` matches every module.
    pub module_id: Option<ModuleId>,
    /// The type; `None` matches every type.
    pub sensor: Option<SensorType>,
    /// Readings taken before this time are deleted; `None` is never.
    pub raw_before: Option<Timestamp>,
}

/// The data that an expiry deleted, or would delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpiryReport {
    /// Readings.
    pub raw: Expired,
    /// Rollups of minutes.
    pub minutes: Expired,
    /// Rollups of hours.
    pub hours: Expired,
    /// Rollups of days.
    pub days: Expired,
    /// The arrival of the newest reading of all series, by the hub's clock.
    pub newest_at: Option<Timestamp>,
}

/// A number of deleted items, and of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// The number of items deleted, or to be deleted.
    pub deleted: u64,
    /// The number of items before the deletion.
    pub total: u64,
}

/// The condition of the store. The rules of [`Store`](super::Store) apply.
#[async_trait]
pub trait StoreStatus {
    /// The file of the store, if it is one.
    fn file(&self) -> Option<&Path>;

    /// The disk space that the store uses.
    async fn disk_use(&self) -> Result<DiskUse>;

    /// Checks that the store accepts writes, its files still exist, and no damage was found. Writes nothing.
    /// After an error that only opening the store again can repair, it has [`failed`](Self::failed).
    async fn check(&self) -> Result<()>;

    /// Returns the reason when the engine has failed permanently: from then on every write is refused,
    /// because the disk may not contain what was written. Only opening the store again recovers all
    /// acknowledged data, so a program that serves a store should end. Never returns otherwise.
    async fn failed(&self) -> String;
}

/// Deletion, verification and backup, the notes and secrets of the hub itself, and the life of the engine.
/// The rules of [`Store`](super::Store) apply.
#[async_trait]
pub trait MaintainStore {
    /// Deletes data by the plan, in small steps that do not delay other writes, and returns how much; with
    /// `dry_run` it only counts. Gaps in deleted readings are deleted, too; their numbers stay lost. The
    /// newest reading of each series is kept.
    ///
    /// If cancelled, it ends between two steps.
    async fn expire(&self, plan: &ExpiryPlan, dry_run: bool) -> Result<ExpiryReport>;

    /// Frees space in small steps that do not delay other writes. First from writers (modules with their own
    /// token; those without one together) whose data grew by more than an equal share, by its arrival:
    /// readings of any age, with the rollups of minutes and hours of those that arrived recently. If no
    /// writer is over its share: the oldest readings, like [`Self::expire`]. The newest reading of each
    /// series is kept. Returns the number of steps; 0 if nothing is left. Freed space is at first only
    /// [`DiskUse::reusable_bytes`].
    async fn evict(&self, eviction: Eviction, now: Now) -> Result<u32>;

    /// Verifies the store, with `deep` false only the quick checks, while other calls continue. Damage is a
    /// result, not an error.
    ///
    /// If cancelled, it ends soon after.
    async fn verify(&self, deep: bool) -> Result<Verification>;

    /// Copies the store as of one moment, while other calls continue, to a new file at `to`. When it returns,
    /// the copy is on disk and was read back and compared. It is made in steps with pauses, so that the
    /// device has time for other writes.
    ///
    /// Errors: [`Conflict`](super::StoreError::Conflict) if the file exists, or the store is in memory;
    /// [`Damaged`](super::StoreError::Damaged) if the copy differs. If cancelled, it ends soon after; an
    /// incomplete copy is not at `to`.
    async fn backup(&self, to: &Path) -> Result<BackedUp>;

    /// Reads a note of the hub.
    async fn note(&self, name: &str) -> Result<Option<String>>;

    /// Replaces a note of the hub.
    async fn set_note(&self, name: &str, text: &str) -> Result<()>;

    /// The hub's own secret of this name: `fresh` the first time, the stored one from then on.
    async fn hub_secret(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]>;

    /// The hub's own secret of this name, if there is one.
    async fn read_hub_secret(&self, name: &str) -> Result<Option<[u8; 32]>>;

    /// Replaces the secret of this name.
    async fn replace_hub_secret(&self, name: &str, fresh: [u8; 32]) -> Result<()>;

    /// Performs the engine's own maintenance that is due; to be called about every minute. The engine keeps
    /// its promises without it, and takes more space.
    async fn maintain(&self, now: Now) -> Result<()>;

    /// Compacts all readings now. This happens automatically over time; for tests, and before measurements.
    async fn compact(&self) -> Result<()>;

    /// Whether another program wrote into the store since it was opened or since the last call: it should be
    /// verified.
    fn take_unverified(&self) -> bool;

    /// Finishes writes in progress and closes; later calls return [`Closed`](super::StoreError::Closed).
    async fn close(&self) -> Result<()>;
}
