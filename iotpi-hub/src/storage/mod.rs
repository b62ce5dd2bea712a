//! Housekeeping: the device, its wear and its room, backups, damage, and how long things are kept.
//!
//! What is decided here is done by the store, which alone knows how things lie on the disk.

mod config;
mod device;

pub use config::{BackupConfig, CommitWindow, RetentionConfig, SeriesRetention, StorageConfig};
pub use device::{DeviceKind, device_kind};
