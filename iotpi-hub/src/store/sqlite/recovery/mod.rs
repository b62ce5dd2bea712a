//! Repair of database files: backups, verification, quarantine, salvage, and opening a database in any state.

mod backup;
pub mod backup_folder;
mod database_lock;
mod leaf_pages;
pub(super) mod offline;
mod quarantine;
mod restored_copy;
mod salvage;
mod salvage_attempt;
mod startup;
mod table_scan;
pub(super) mod verify;
mod wal_salvage;

pub(crate) use database_lock::{DatabaseLock, open_folder};
pub(crate) use offline::{backup, verify};
pub(crate) use quarantine::{acknowledge, list as quarantined};
pub(crate) use startup::{Opened, is_suspect, open};
pub use startup::{Recovered, restore};
