//! How much an outbox keeps, and why it cannot be opened.

use std::{io, path::PathBuf, time::Duration};

use crate::model::id::ModuleId;

/// How many readings wait at most in an outbox in memory, unless said otherwise: some hours of one sensor at 1 Hz, a few
/// megabytes.
pub const DEFAULT_OUTBOX_CAPACITY: usize = 10_000;

/// How much an outbox on disk keeps. Whichever limit is reached first, the oldest segment goes (a sixteenth of the limits, at
/// most a megabyte) and its loss is told to the hub as a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Bytes of its segments on disk, at least 64 KiB. Default 64 MiB: some 1.8 million readings.
    pub bytes: u64,
    /// How long a reading waits, by the monotonic clock; a reboot begins the wait anew, because no clock that survives it can
    /// be trusted to delete by. Default 7 days. A segment goes when its newest reading is as old.
    pub age: Duration,
    /// Readings, at least 16. Default 1,000,000.
    pub readings: u64,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { bytes: 64 * 1024 * 1024, age: Duration::from_secs(7 * 86_400), readings: 1_000_000 }
    }
}

impl OutboxLimits {
    /// The same with every limit at least the least that works.
    pub(super) fn checked(self) -> Self {
        Self {
            bytes: self.bytes.max(64 * 1024),
            age: self.age.max(Duration::from_secs(1)),
            readings: self.readings.max(16),
        }
    }
}

/// Why the folder of an outbox cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// Another process, or another module of this one, has it open.
    #[error("the outbox {} is in use by another process: a module has a folder of its own", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// It belongs to another module: its numbers and readings are that module's.
    #[error("the outbox {} is that of module `{owner}`: a module has a folder of its own", folder.display())]
    OtherModule {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        owner: ModuleId,
    },
    /// The folder cannot be made, read or written.
    #[error("the outbox {} cannot be used", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
