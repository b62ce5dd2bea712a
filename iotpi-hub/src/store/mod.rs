//! The store of the hub: object-safe traits whose methods are intents, one folder per engine.
//!
//! Each resource has a file with its types and two traits, of its reads and of its writes. [`ReadStore`] is all reads;
//! [`Store`] is all of it.
//!
//! Time is always an argument, so that an engine needs no clock and a test can control it. Deliberately
//! absent: SQL (only `store/<engine>/` has it), permissions and events (`ops/`).
//!
//! Wall time is calendar time; it may jump. Deadlines (of commands, leases, sessions) are in *steady* time:
//! the wall time at the hub's start plus the monotonic time since.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use iotpi_core::Timestamp;
pub use iotpi_core::model::page::Page;

mod commands;
#[cfg(feature = "testing")]
pub mod contract;
mod cursor;
mod error;
mod frame_index;
mod maintenance;
mod modules;
mod pages;
mod readings;
mod sqlite;
mod users;

pub use commands::{
    CommandHistory, CommandSubmission, DeadlineChanges, LeaseTerms, ReadCommands, Reported, SubmitOutcome,
    WatchedIssuer, WriteCommands,
};
pub(crate) use cursor::hex;
pub use error::{BoxError, StoreError};
pub use frame_index::{
    ClipQuery, FoundFrame, FrameLocation, IndexedFrames, ReadFrameIndex, RecordingTotals, SegmentRecord,
    WriteFrameIndex,
};
pub use maintenance::{
    BackedUp, DiskUse, Eviction, Expired, ExpiryPlan, ExpiryReport, MaintainStore, Salvaged, SeriesExpiry,
    StoreStatus, Verification,
};
pub use modules::{ModuleRecord, ReadModules, WriteModules};
pub(crate) use pages::Pages;
pub(crate) use readings::end_us;
pub use readings::{GapQuery, ReadReadings, ReadingQuery, Recorded, SeriesKey, WriteReadings};
pub use sqlite::recovery::backup_folder;
pub(crate) use sqlite::{RESTORED, recovery, with_suffix};
pub use users::{ReadUsers, SecretHash, TokenRecord, UserListing, UserRecord, WriteUsers};

/// The result of a store operation.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A point in the hub's steady time: it does not jump while the hub runs, and is close to wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steady(pub Timestamp);

/// The current time on both of the hub's clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Calendar time.
    pub wall: Timestamp,
    /// The time for deadlines.
    pub steady: Steady,
}

/// The page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The maximum number of items, 1 to 1,000.
    pub limit: u32,
    /// The [`Page::next`] of the previous page.
    pub cursor: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: 100, cursor: None }
    }
}

/// The store of a hub, whichever engine it uses.
///
/// A write that returned `Ok` survives a power cut. Lists have the order that their methods name, and are
/// paged by opaque cursors.
///
/// # Errors
/// Every method: [`StoreError::Engine`], [`StoreError::Full`], [`StoreError::Closed`]; others where named.
/// Lists: [`StoreError::BadCursor`].
///
/// # Cancel safety
/// Every method: a cancelled write happened completely or not at all.
pub trait Store:
    ReadStore + WriteReadings + WriteModules + WriteCommands + WriteUsers + WriteFrameIndex + MaintainStore
{
}

impl<T> Store for T where
    T: ReadStore
        + WriteReadings
        + WriteModules
        + WriteCommands
        + WriteUsers
        + WriteFrameIndex
        + MaintainStore
{
}

/// The reads of a [`Store`]: all that a transport may call.
pub trait ReadStore:
    ReadReadings
    + ReadModules
    + ReadCommands
    + ReadUsers
    + ReadFrameIndex
    + StoreStatus
    + fmt::Debug
    + Send
    + Sync
{
}

impl<T> ReadStore for T where
    T: ReadReadings
        + ReadModules
        + ReadCommands
        + ReadUsers
        + ReadFrameIndex
        + StoreStatus
        + fmt::Debug
        + Send
        + Sync
{
}

/// The options of opening a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreOptions {
    /// The time for which readings may wait to share a commit; every other write commits at once. Zero, the
    /// default: each waits only for the commit before it.
    pub commit_window: Duration,
    /// Compacts when this many readings wait, instead of by the engine's own rule. For tests.
    pub compact_at: Option<usize>,
}

/// Opens a store by the scheme of its URL: `sqlite:///var/lib/iotpi/hub.db`, `sqlite://relative/hub.db`,
/// `sqlite::memory:`. The path is used as it is. The file (mode 0600), its directory and its tables are
/// created if missing.
///
/// # Errors
/// [`StoreError::BadUrl`]; [`StoreError::Damaged`]; [`StoreError::Engine`] if the engine cannot open it.
///
/// # Cancel safety
/// When cancelled, nothing is open. The file may have been created.
pub async fn open(url: &str) -> Result<Arc<dyn Store>> {
    open_with(url, StoreOptions::default()).await
}

/// Like [`open`], with options.
///
/// # Errors
/// As [`open`].
///
/// # Cancel safety
/// As [`open`].
pub async fn open_with(url: &str, options: StoreOptions) -> Result<Arc<dyn Store>> {
    match url.split_once(':') {
        Some(("sqlite", rest)) => Ok(Arc::new(sqlite::Sqlite::open(rest, options).await?)),
        _ => Err(StoreError::BadUrl(url.to_owned())),
    }
}

/// The file of a store with this URL, if it is one.
#[must_use]
pub fn file(url: &str) -> Option<PathBuf> {
    url.strip_prefix("sqlite:").and_then(sqlite::database_path)
}

/// Like [`MaintainStore::backup`], of a database that is not open in this process; another process may have it open.
///
/// # Errors
/// As [`MaintainStore::backup`].
///
/// # Cancel safety
/// As [`MaintainStore::backup`].
pub async fn backup(database: &Path, to: &Path) -> Result<BackedUp> {
    recovery::backup(database, to).await
}

/// Like [`MaintainStore::verify`], of a database that is not open in this process; another process may have it open.
/// Changes nothing.
///
/// # Errors
/// [`StoreError::Engine`] if it belongs to another program or a newer hub, or cannot be read.
///
/// # Cancel safety
/// As [`MaintainStore::verify`].
pub async fn verify(database: &Path, deep: bool) -> Result<Verification> {
    recovery::verify(database, deep).await
}
