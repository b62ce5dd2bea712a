//! The settings of the database, of backups and of retention.

use std::{fmt, path::PathBuf};

use iotpi_core::{ModuleId, SensorType};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{HubError, Result};

/// The maximum commit window in milliseconds.
const MAX_WINDOW_MS: u64 = 10_000;
/// The maximum of a setting in days: a century.
const MAX_DAYS: u32 = 36_525;

/// The database and its device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// How long readings may wait for others to share a commit: `"auto"`, `"none"`, or milliseconds, 0 to
    /// 10,000. `"auto"` is 200 ms on an SD card and eMMC, and no wait on other devices. Default `"auto"`.
    pub commit_window: CommitWindow,
    /// Bytes of the disk that stay free. Below this mark raw readings are deleted, first those of the module
    /// whose data grew most, then the oldest; if that does not help, new readings are refused. 0 disables it.
    /// Default 268,435,456 (256 MiB).
    pub low_water_bytes: u64,
    /// Days of raw readings that are not deleted when the disk is full, except those of a module whose data
    /// grew by more than its share. 1 to 36,525. Default 30.
    pub thin_keep_days: u32,
    /// The endurance of the device in terabytes (10^12 bytes) written. Only the forecast on the storage page
    /// uses it. Above 0, up to 1,000,000. Default 10, a small SD card.
    pub endurance_tbw: f64,
}

/// Backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupConfig {
    /// Hours between two backups; 0 disables automatic backups. Up to 8,784 (a year). Default 168 (a week).
    /// The first backup is made after ten minutes.
    pub every_hours: u32,
    /// Percent by which the database may grow (at least 1 MiB) before the next backup is made early; 0
    /// disables that. Up to 10,000. Default 100.
    pub growth_percent: u32,
    /// The number of backups to keep; older ones are removed after a new one is verified. 1 to 1,000. Default
    /// 3.
    pub keep: u32,
    /// The folder for backups. By default it is `backups` beside the database, which is lost with the card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
}

/// How long recorded data is kept. 0 days means forever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// Days for which raw readings are kept. Default 365.
    pub raw_days: u32,
    /// Days for which aggregates by minute are kept. Default 730.
    pub minute_days: u32,
    /// Days for which aggregates by hour are kept. Default 0, forever.
    pub hour_days: u32,
    /// Days for which aggregates by day are kept. Default 0, forever.
    pub day_days: u32,
    /// Series with another retention of raw readings; the first matching entry applies. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<SeriesRetention>,
}

/// The retention of raw readings of some series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesRetention {
    /// The module; every module if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<ModuleId>,
    /// The type; every type if absent.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorType>,
    /// Days for which raw readings are kept; 0 means forever.
    pub raw_days: u32,
}

/// How long readings may wait for others to share a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitWindow {
    /// Depends on the device: 200 ms on an SD card and eMMC, no wait on other devices.
    #[default]
    Auto,
    /// No wait: a reading waits only for the commit that is running.
    None,
    /// Milliseconds, 0 to 10,000.
    Millis(u16),
}

impl Serialize for CommitWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::None => serializer.serialize_str("none"),
            Self::Millis(millis) => serializer.serialize_u16(*millis),
        }
    }
}

impl<'de> Deserialize<'de> for CommitWindow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = CommitWindow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"auto\", \"none\", or milliseconds, 0 to {MAX_WINDOW_MS}")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<CommitWindow, E> {
                match word {
                    "auto" => Ok(CommitWindow::Auto),
                    "none" => Ok(CommitWindow::None),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<CommitWindow, E> {
                match u16::try_from(millis) {
                    Ok(millis) if u64::from(millis) <= MAX_WINDOW_MS => Ok(CommitWindow::Millis(millis)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(millis), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, millis: i64) -> Result<CommitWindow, E> {
                match u64::try_from(millis) {
                    Ok(millis) => self.visit_u64(millis),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(millis), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            commit_window: CommitWindow::Auto,
            low_water_bytes: 256 << 20,
            thin_keep_days: 30,
            endurance_tbw: 10.0,
        }
    }
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self { every_hours: 168, growth_percent: 100, keep: 3, dir: None }
    }
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self { raw_days: 365, minute_days: 730, hour_days: 0, day_days: 0, series: Vec::new() }
    }
}

impl StorageConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if let CommitWindow::Millis(millis) = self.commit_window {
            up_to("storage.commit_window", u64::from(millis), MAX_WINDOW_MS)?;
        }
        if self.thin_keep_days == 0 {
            return Err(HubError::invalid_argument("storage.thin_keep_days must be 1 or more"));
        }
        up_to("storage.thin_keep_days", self.thin_keep_days.into(), MAX_DAYS.into())?;
        if !(self.endurance_tbw > 0.0 && self.endurance_tbw <= 1e6) {
            return Err(HubError::invalid_argument(format!(
                "storage.endurance_tbw must be above 0 and up to 1000000, not {}",
                self.endurance_tbw
            )));
        }
        Ok(())
    }

    /// The configured endurance in bytes.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be 0 to 10^18")]
    pub(crate) fn endurance_bytes(&self) -> u64 {
        (self.endurance_tbw * 1e12) as u64
    }
}

impl BackupConfig {
    pub(crate) fn check(&self) -> Result<()> {
        up_to("backup.every_hours", self.every_hours.into(), 8_784)?;
        up_to("backup.growth_percent", self.growth_percent.into(), 10_000)?;
        if self.keep == 0 {
            return Err(HubError::invalid_argument("backup.keep must be 1 or more"));
        }
        up_to("backup.keep", self.keep.into(), 1_000)
    }
}

impl RetentionConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let all = [
            ("retention.raw_days", self.raw_days),
            ("retention.minute_days", self.minute_days),
            ("retention.hour_days", self.hour_days),
            ("retention.day_days", self.day_days),
        ];
        let of_series = self.series.iter().map(|rule| ("retention.series.raw_days", rule.raw_days));
        all.into_iter()
            .chain(of_series)
            .try_for_each(|(field, days)| up_to(field, days.into(), MAX_DAYS.into()))
    }
}

fn up_to(field: &str, value: u64, max: u64) -> Result<()> {
    if value <= max {
        Ok(())
    } else {
        Err(HubError::invalid_argument(format!("{field} may be up to {max}, not {value}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Result<CommitWindow, toml::de::Error> {
        toml::from_str::<StorageConfig>(&format!("commit_window = {text}")).map(|c| c.commit_window)
    }

    #[test]
    fn a_commit_window_is_a_word_or_milliseconds() {
        for (text, meant) in [
            ("\"auto\"", CommitWindow::Auto),
            ("\"none\"", CommitWindow::None),
            ("0", CommitWindow::Millis(0)),
            ("10000", CommitWindow::Millis(10_000)),
        ] {
            assert_eq!(window(text).unwrap(), meant, "{text}");
        }
        for wrong in ["\"fast\"", "10001", "-1", "0.5", "true", "70000"] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_commit_window_is_serialized_as_it_is_parsed() {
        for meant in [CommitWindow::Auto, CommitWindow::None, CommitWindow::Millis(250)] {
            let config = StorageConfig { commit_window: meant, ..StorageConfig::default() };

            let text = toml::to_string(&config).unwrap();

            assert_eq!(toml::from_str::<StorageConfig>(&text).unwrap(), config, "{text}");
        }
    }

    #[test]
    fn an_invalid_setting_is_named() {
        let storage = |endurance_tbw| StorageConfig { endurance_tbw, ..StorageConfig::default() };
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e7] {
            assert!(storage(wrong).check().unwrap_err().detail().contains("storage.endurance_tbw"));
        }
        assert_eq!(storage(10.0).endurance_bytes(), 10_000_000_000_000);
        let none = BackupConfig { keep: 0, ..BackupConfig::default() };
        assert!(none.check().unwrap_err().detail().contains("backup.keep"));
        let growth = BackupConfig { growth_percent: 10_001, ..BackupConfig::default() };
        assert!(growth.check().unwrap_err().detail().contains("backup.growth_percent"));
        let ages = RetentionConfig { hour_days: 40_000, ..RetentionConfig::default() };
        assert!(ages.check().unwrap_err().detail().contains("retention.hour_days"));
    }
}
