//! When a backup is due, and its folder.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use iotpi_core::Timestamp;

use crate::config::BackupConfig;
pub use crate::store::backup_folder::{BackupFile, list, make};

/// The default folder.
const FOLDER: &str = "backups";

/// The time from the first start of a hub to its first backup.
const FIRST_AFTER: Duration = Duration::from_secs(600);
/// Growth below this makes no backup due, however small the last one is.
const MIN_GROWTH_BYTES: u64 = 1 << 20;
/// The time from a failed attempt to the next one.
const RETRY_AFTER: Duration = Duration::from_secs(6 * 3_600);

/// The folder for the backups of a database.
#[must_use]
pub fn folder(config: &BackupConfig, database: &Path) -> PathBuf {
    config.dir.clone().unwrap_or_else(|| database.with_file_name(FOLDER))
}

/// The schedule of automatic backups.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Turn {
    /// The uptime at the last backup, or at the start of the hub.
    made: Duration,
    /// The earliest uptime of the next attempt after a failed one, which may have written a whole copy.
    not_before: Duration,
}

impl Turn {
    /// Whether a backup is due: by age, or because the database uses `bytes` bytes, which is more than
    /// `growth_percent` above the size of the last backup (0 disables this). A backup due by growth writes at
    /// most the bytes added since the last one, and the same amount again.
    pub(crate) fn is_due(
        self,
        last: Option<&BackupFile>,
        config: &BackupConfig,
        bytes: u64,
        (wall, uptime): (Timestamp, Duration),
    ) -> bool {
        let every = Duration::from_secs(3_600) * config.every_hours;
        if every.is_zero() || uptime < self.not_before {
            return false;
        }
        let ran = uptime.saturating_sub(self.made);
        let Some(last) = last else { return ran >= every.min(FIRST_AFTER) };
        let growth = (last.bytes / 100).saturating_mul(config.growth_percent.into()).max(MIN_GROWTH_BYTES);
        let has_grown = config.growth_percent > 0 && bytes > last.bytes.saturating_add(growth);
        // Either clock is enough: the wall clock may have been set back.
        has_grown || ran >= every || last.at.is_some_and(|at| wall.since(at) >= every)
    }

    pub(crate) fn made(&mut self, uptime: Duration) {
        *self = Self { made: uptime, not_before: Duration::ZERO };
    }

    pub(crate) fn failed(&mut self, every: Duration, uptime: Duration) {
        self.not_before = uptime + every.min(RETRY_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_795_473_000_250_000);

    #[test]
    fn a_backup_is_due_by_age_and_by_growth() {
        const MIB: u64 = 1 << 20;
        let config = BackupConfig { every_hours: 24, growth_percent: 50, ..BackupConfig::default() };
        let last = |bytes: u64| BackupFile { number: 1, at: Some(NOW), bytes, path: PathBuf::new() };
        let turn = Turn { made: Duration::from_secs(600), not_before: Duration::ZERO };
        let at = |secs: u64| (NOW.plus(Duration::from_secs(secs)), Duration::from_secs(600 + secs));
        let due = |of: Option<&BackupFile>, bytes, secs| turn.is_due(of, &config, bytes, at(secs));

        assert!(!Turn::default().is_due(None, &config, 0, (NOW, Duration::from_secs(599))));
        assert!(Turn::default().is_due(None, &config, 0, (NOW, Duration::from_secs(600))));
        assert!(!due(Some(&last(100 * MIB)), 149 * MIB, 86_399));
        assert!(due(Some(&last(100 * MIB)), 149 * MIB, 86_400));
        assert!(due(Some(&last(100 * MIB)), 151 * MIB, 600));
        assert!(!due(Some(&last(MIB)), 2 * MIB, 600), "growth by less than 1 MiB is none");
        let never = BackupConfig { growth_percent: 0, ..config.clone() };
        assert!(!turn.is_due(Some(&last(MIB)), &never, 900 * MIB, at(600)));
    }
}
