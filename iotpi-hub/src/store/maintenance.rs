//! What the engine is asked for its upkeep, and what it answers.

use std::{fmt, path::Path};

use async_trait::async_trait;
use iotpi_core::{ModuleId, SensorType, Timestamp};

use super::{Now, Result};

/// What the engine takes of the disk, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUse {
    /// The database, what is reusable included.
    pub database_bytes: u64,
    /// What is committed and not yet written back.
    pub wal_bytes: u64,
    /// Of the database, what was freed and will be used again before it grows.
    pub reusable_bytes: u64,
}

/// What a look through a database found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Whether everything was looked at, or only what is quickly looked at.
    pub deep: bool,
    /// The version of its tables.
    pub version: usize,
    /// How many rows each table has, by name.
    pub rows: Vec<(String, u64)>,
    /// What is wrong, a sentence each; nothing when it is sound.
    pub faults: Vec<String>,
}

impl Verification {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

/// What was saved of a damaged database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Salvaged {
    /// Readings that were saved.
    pub readings: u64,
    /// Readings that were not, as far as the database tells.
    pub readings_lost: u64,
    /// Series that were saved.
    pub series: u64,
    /// Modules.
    pub modules: u64,
    /// Users.
    pub users: u64,
    /// Tokens.
    pub tokens: u64,
    /// Commands.
    pub commands: u64,
    /// Tables of which some rows could not be saved.
    pub damaged: Vec<String>,
}

impl Salvaged {
    /// Whether everything but readings was saved.
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
    /// How large it is.
    pub bytes: u64,
    /// How many rows each table has, by name: in the backup as in what it was taken of.
    pub rows: Vec<(String, u64)>,
}

/// How room is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eviction {
    /// While nobody is over their share, readings taken before this moment go.
    pub before: Timestamp,
    /// Whose data grew by no more than this is not over their share, bytes: they did not fill the disk.
    pub spared_bytes: u64,
    /// The most steps.
    pub most: u32,
}

/// Up to when what is recorded may go. `None` is never.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpiryPlan {
    /// Readings taken before this moment go, unless a rule of `series` fits.
    pub raw_before: Option<Timestamp>,
    /// Summaries of minutes that ended before this moment go.
    pub minutes_before: Option<Timestamp>,
    /// Summaries of hours that ended before this moment go.
    pub hours_before: Option<Timestamp>,
    /// Summaries of days that ended before this moment go.
    pub days_before: Option<Timestamp>,
    /// Series that are kept otherwise; the first rule that fits counts.
    pub series: Vec<SeriesExpiry>,
}

impl ExpiryPlan {
    /// Up to when the readings of that series may go.
    #[must_use]
    pub fn raw_before(&self, module_id: &ModuleId, sensor: &SensorType) -> Option<Timestamp> {
        let fits = |rule: &&SeriesExpiry| {
            rule.module_id.as_ref().is_none_or(|id| id == module_id)
                && rule.sensor.as_ref().is_none_or(|kind| kind == sensor)
        };
        self.series.iter().find(fits).map_or(self.raw_before, |rule| rule.raw_before)
    }

    /// Up to when gaps in the readings of that series may go, which is when the readings may; without a type, of gaps that name
    /// none.
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

/// Up to when the readings of some series may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesExpiry {
    /// Only this module's.
    pub module_id: Option<ModuleId>,
    /// Only of this type.
    pub sensor: Option<SensorType>,
    /// Readings taken before this moment go; `None` is never.
    pub raw_before: Option<Timestamp>,
}

/// What an expiry took, or would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpiryReport {
    /// Of the readings.
    pub raw: Expired,
    /// Of the summaries of minutes.
    pub minutes: Expired,
    /// Of the summaries of hours.
    pub hours: Expired,
    /// Of the summaries of days.
    pub days: Expired,
    /// When the newest record of all series was received, by the hub's clock.
    pub newest_at: Option<Timestamp>,
}

/// How many of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// So many went, or would.
    pub gone: u64,
    /// So many there were before.
    pub of: u64,
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
    async fn evict(&self, thinning: Eviction, now: Now) -> Result<u32>;

    /// Verifies the store, with `deep` false only the quick checks, while other calls continue. Damage is a
    /// result, not an error.
    ///
    /// If cancelled, it ends soon after.
    async fn verify(&self, deep: bool) -> Result<Verification>;

    /// Copies the store as of one moment, while other calls continue, to a new file at `to`. When it returns,
    /// the copy is on disk and was read back and compared. It is made in steps with pauses, so that the
    /// device has time for other writes.
    ///
    /// Errors: [`StoreError::Conflict`] if the file exists, or the store is in memory;
    /// [`StoreError::Damaged`] if the copy differs. If cancelled, it ends soon after; an incomplete copy is
    /// not at `to`.
    async fn backup(&self, to: &Path) -> Result<BackedUp>;

    /// Reads a note of the hub.
    async fn note(&self, name: &str) -> Result<Option<String>>;

    /// Replaces a note of the hub.
    async fn keep_note(&self, name: &str, text: &str) -> Result<()>;

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
    async fn settle(&self) -> Result<()>;

    /// Whether another program wrote into the store since it was opened or since the last call: it should be
    /// verified.
    fn take_unverified(&self) -> bool;

    /// Finishes writes in progress and closes; later calls return [`StoreError::Closed`].
    async fn close(&self) -> Result<()>;
}
