//! What the engine is asked for its upkeep, and what it answers.

use std::fmt;

use iotpi_core::{ModuleId, SensorType, Timestamp};

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
