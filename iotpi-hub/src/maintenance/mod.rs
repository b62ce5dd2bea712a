//! The rules of maintenance: the device, its wear and free space, backups, damage, retention.
//!
//! The store carries them out, because only it knows its files. The background tasks that apply them are in
//! `ops/maintenance.rs`.

pub mod backup;
mod device;
mod machine;
mod open;
mod report;
mod retention;
mod space;
mod state;
mod wear;

pub(crate) use crate::store::recovery::{
    DatabaseLock, Opened, acknowledge, is_suspect, open_folder, quarantined,
};
pub use crate::store::recovery::{Recovered, restore};
pub use device::{DeviceKind, device_kind};
pub use machine::Machine;
pub(crate) use open::open;
pub(crate) use report::metrics;
pub use report::{Expired, LastBackup, Quarantined, RetentionReport, StorageReport};
pub(crate) use retention::{plan, refusal};
pub(crate) use space::{FreeSpace, SpaceState};
pub(crate) use state::{Problems, Storage};
pub(crate) use wear::Wear;
