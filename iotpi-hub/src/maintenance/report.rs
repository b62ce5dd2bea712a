//! Reports on the hub's storage.

use iotpi_core::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::DeviceKind;
use crate::{
    metrics::{Family, Value},
    store,
};

/// The state of the hub's storage.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StorageReport {
    /// The size of the database in bytes.
    pub database_bytes: u64,
    /// Bytes that are committed and not yet checkpointed into the database.
    pub wal_bytes: u64,
    /// Free pages of the database in bytes, which are used before it grows.
    pub reusable_bytes: u64,
    /// Free bytes on the disk; null if the database is in memory or the disk does not report it.
    pub free_bytes: Option<u64>,
    /// The low-water mark in bytes: below it old readings are evicted, then new ones refused; 0 disables it.
    pub low_water_bytes: u64,
    /// Whether readings are refused because the disk is full.
    pub full: bool,
    /// Bytes written to the device today (UTC); null if the kernel does not count them.
    pub written_today_bytes: Option<u64>,
    /// Bytes written per day of running time, over the last 30 days the hub ran; null before an hour was
    /// measured.
    pub written_per_day_bytes: Option<u64>,
    /// Bytes written since the hub began to count; null if the kernel does not count them.
    pub written_total_bytes: Option<u64>,
    /// The number of bytes that may be written to the device, from the config.
    pub endurance_bytes: u64,
    /// Years until that number is reached at the current rate; null if the rate is unknown.
    pub forecast_years: Option<f64>,
    /// The device that holds the database.
    pub device_kind: DeviceKind,
    /// The time for which readings may wait to share a commit, in milliseconds.
    pub commit_window_ms: u64,
    /// The newest backup; null if there is none.
    pub last_backup: Option<LastBackup>,
    /// Hours between two automatic backups; 0 disables them.
    pub backup_every_hours: u32,
    /// Damaged databases in quarantine that are not acknowledged, oldest first.
    pub quarantined: Vec<Quarantined>,
    /// The last retention run; null if there was none since the start.
    pub retention: Option<RetentionReport>,
    /// Problems that need attention, one sentence each.
    pub problems: Vec<String>,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LastBackup {
    /// The time of the backup.
    pub at: Option<Timestamp>,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it was read and compared after it was made. An unverified file does not count as a backup.
    pub verified: bool,
    /// Its path; only for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A damaged database in quarantine.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Quarantined {
    /// The time at which it was quarantined.
    pub at: Timestamp,
    /// The damage.
    pub why: String,
    /// Whether a backup replaced it; otherwise a new database did.
    pub restored: bool,
    /// The data that was saved into the new database; absent if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub salvaged: Option<String>,
    /// The directory with all its files; only for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// The result of a retention run, or its preview.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RetentionReport {
    /// The time of the run.
    pub at: Timestamp,
    /// Whether it was a preview.
    pub dry_run: bool,
    /// The reason why nothing was deleted, if the run was refused; an admin may confirm it.
    pub refused: Option<String>,
    /// Readings.
    pub readings: Expired,
    /// Aggregates by minute.
    pub minutes: Expired,
    /// Aggregates by hour.
    pub hours: Expired,
    /// Aggregates by day.
    pub days: Expired,
}

/// The number of deleted items of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Expired {
    /// The number deleted, or that would be.
    pub gone: u64,
    /// The number before.
    pub of: u64,
}

impl From<store::Expired> for Expired {
    fn from(expired: store::Expired) -> Self {
        Self { gone: expired.deleted, of: expired.total }
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

/// The metric families of the report. A family with an unknown value is left out.
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
            "Damaged databases in quarantine that are not acknowledged.",
            report.quarantined.len() as u64,
        ),
        count("iotpi_storage_problems", "Problems of the storage.", report.problems.len() as u64),
    ];
    families.into_iter().flatten().collect()
}
