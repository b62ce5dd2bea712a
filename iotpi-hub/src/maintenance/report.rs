//! What the hub says of its storage.

use iotpi_core::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::DeviceKind;
use crate::{
    metrics::{Family, Value},
    store,
};

/// How the hub's storage is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StorageReport {
    /// Size of the database, bytes.
    pub database_bytes: u64,
    /// Committed and not yet written back into the database, bytes.
    pub wal_bytes: u64,
    /// Of the database, what was freed and is used again before it grows, bytes.
    pub reusable_bytes: u64,
    /// Free on the disk, bytes; null when the database is in memory or the disk does not say.
    pub free_bytes: Option<u64>,
    /// Below so many free bytes old readings are thinned out, then new ones refused; 0: never.
    pub low_water_bytes: u64,
    /// Whether readings are refused for want of room.
    pub full: bool,
    /// Written to the device today (UTC), bytes; null where the kernel does not count them.
    pub written_today_bytes: Option<u64>,
    /// Written a day of running, over the last 30 days the hub ran; null before an hour was measured.
    pub written_per_day_bytes: Option<u64>,
    /// Written since the hub began to count, bytes; null where the kernel does not count them.
    pub written_total_bytes: Option<u64>,
    /// What the device endures being written, as the config says, bytes.
    pub endurance_bytes: u64,
    /// Years until that is used up, if it goes on like this; null when it is not known how it goes.
    pub forecast_years: Option<f64>,
    /// What the database lies on.
    pub device_kind: DeviceKind,
    /// How long readings may wait for others to share a commit, milliseconds.
    pub commit_window_ms: u64,
    /// The newest backup; null when there is none.
    pub last_backup: Option<LastBackup>,
    /// Hours between two backups; 0: none by itself.
    pub backup_every_hours: u32,
    /// Damaged databases that were put aside and that nobody has acknowledged yet, oldest first.
    pub quarantined: Vec<Quarantined>,
    /// The last run that removed what is older than the config says; null when there was none since the start.
    pub retention: Option<RetentionReport>,
    /// What somebody should look after, a sentence each.
    pub problems: Vec<String>,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LastBackup {
    /// When it was made.
    pub at: Option<Timestamp>,
    /// Its size, bytes.
    pub bytes: u64,
    /// Whether it was read back and compared when it was made. One that was not is none.
    pub verified: bool,
    /// Where it is; admins see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A damaged database that was put aside.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Quarantined {
    /// When.
    pub at: Timestamp,
    /// What was wrong.
    pub why: String,
    /// Whether a backup took its place; a new database did otherwise.
    pub restored: bool,
    /// What was saved of it into the new database; left out when nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub salvaged: Option<String>,
    /// The folder with all its files; admins see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What was removed because it is old, or would be.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RetentionReport {
    /// When.
    pub at: Timestamp,
    /// Whether it was only looked.
    pub dry_run: bool,
    /// Why nothing was removed, if it was refused; an admin may confirm it.
    pub refused: Option<String>,
    /// Readings.
    pub readings: Expired,
    /// Summaries of minutes.
    pub minutes: Expired,
    /// Summaries of hours.
    pub hours: Expired,
    /// Summaries of days.
    pub days: Expired,
}

/// How many of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Expired {
    /// So many went, or would.
    pub gone: u64,
    /// So many there were before.
    pub of: u64,
}

impl From<store::Expired> for Expired {
    fn from(expired: store::Expired) -> Self {
        Self { gone: expired.gone, of: expired.of }
    }
}

impl RetentionReport {
    pub(crate) fn new(
        at: Timestamp,
        dry_run: bool,
        refused: Option<String>,
        expired: &store::ExpiryReport,
    ) -> Self {
        Self {
            at,
            dry_run,
            refused,
            readings: expired.raw.into(),
            minutes: expired.minutes.into(),
            hours: expired.hours.into(),
            days: expired.days.into(),
        }
    }
}

/// The metric families of the report. A family whose value is not known is left out.
pub(crate) fn metrics(report: &StorageReport) -> Vec<Family> {
    let gauge = |name, help, value: Option<Value>| Some(Family::gauge(name, help).with(value?));
    let count = |name, help, value: u64| gauge(name, help, Some(value.into()));
    let written_total = Family::counter(
        "iotpi_device_written_bytes_total",
        "Bytes written to the device since the hub began to count.",
    );
    let families = [
        count("iotpi_database_bytes", "Size of the database.", report.database_bytes),
        count("iotpi_wal_bytes", "Size of its write-ahead log.", report.wal_bytes),
        count("iotpi_database_reusable_bytes", "Free bytes within the database.", report.reusable_bytes),
        gauge("iotpi_disk_free_bytes", "Free bytes on the disk.", report.free_bytes.map(Value::from)),
        count("iotpi_storage_full", "1: readings are refused.", u64::from(report.full)),
        report.written_total_bytes.map(|bytes| written_total.with(bytes)),
        gauge(
            "iotpi_device_written_bytes_per_day",
            "Bytes written to the device per day of running.",
            report.written_per_day_bytes.map(Value::from),
        ),
        count("iotpi_device_endurance_bytes", "Configured endurance of the device.", report.endurance_bytes),
        gauge(
            "iotpi_device_years_left",
            "Years until the endurance is used up at this rate.",
            report.forecast_years.map(Value::from),
        ),
        gauge(
            "iotpi_last_backup_time_seconds",
            "Time of the newest backup, Unix seconds.",
            report.last_backup.as_ref().and_then(|backup| backup.at).map(|at| at.as_secs_f64().into()),
        ),
        count(
            "iotpi_databases_quarantined",
            "Damaged databases that nobody has acknowledged.",
            report.quarantined.len() as u64,
        ),
        count("iotpi_storage_problems", "Problems of the storage.", report.problems.len() as u64),
    ];
    families.into_iter().flatten().collect()
}
