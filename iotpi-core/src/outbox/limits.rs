//! The limits of an outbox, and the errors of opening it.

use std::{io, path::PathBuf, time::Duration};

use crate::model::id::ModuleId;

/// The default capacity of an outbox in memory, in readings: some hours of one sensor at 1 Hz, a few
/// megabytes.
pub const DEFAULT_OUTBOX_CAPACITY: usize = 10_000;

/// The limits of an outbox on disk. When one is reached, the oldest segment is deleted (a sixteenth of the
/// limits, at most a megabyte), and its readings are reported to the hub as a gap.
///
/// ```
/// use std::time::Duration;
/// use iotpi_core::outbox::OutboxLimits;
///
/// let limits = OutboxLimits::default().with_readings(100_000).with_age(Duration::from_secs(86_400));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxLimits {
    /// The maximum size of its segments on disk in bytes, at least 64 KiB. Default 64 MiB: some 1.8 million
    /// readings.
    pub bytes: u64,
    /// The maximum age of a reading by the monotonic clock. A reboot restarts it, because no clock that
    /// survives it can be trusted for deletions. Default 7 days. A segment is deleted when its newest reading
    /// has this age.
    pub age: Duration,
    /// The maximum number of readings, at least 16. Default 1,000,000.
    pub readings: u64,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { bytes: 64 * 1024 * 1024, age: Duration::from_secs(7 * 86_400), readings: 1_000_000 }
    }
}

impl OutboxLimits {
    /// Sets the maximum size on disk in bytes, at least 64 KiB.
    #[must_use]
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets the maximum age of a reading, at least a second.
    #[must_use]
    pub fn with_age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// Sets the maximum number of readings, at least 16.
    #[must_use]
    pub fn with_readings(mut self, readings: u64) -> Self {
        self.readings = readings;
        self
    }

    /// Raises every limit to its minimum.
    pub(super) fn checked(self) -> Self {
        Self {
            bytes: self.bytes.max(64 * 1024),
            age: self.age.max(Duration::from_secs(1)),
            readings: self.readings.max(16),
        }
    }
}

/// The reasons why the directory of an outbox cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// Another process, or another module of this one, has it open.
    #[error("the outbox {} is in use by another process: a module has a folder of its own", folder.display())]
    InUse {
        /// The directory.
        folder: PathBuf,
    },
    /// It belongs to another module, with that module's numbers and readings.
    #[error("the outbox {} is that of module `{owner}`: a module has a folder of its own", folder.display())]
    OtherModule {
        /// The directory.
        folder: PathBuf,
        /// The module it belongs to.
        owner: ModuleId,
    },
    /// The directory cannot be created, read or written.
    #[error("the outbox {} cannot be used", folder.display())]
    Io {
        /// The directory.
        folder: PathBuf,
        /// The underlying error.
        source: io::Error,
    },
}
