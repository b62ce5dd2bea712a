//! The numbers assigned and the readings in memory, kept where they survive a killed process.
//!
//! After `kill -9` the next start must know which numbers were assigned, so that none is used twice, and
//! which readings were in memory, so that their loss can be reported. Writing that to the card for each
//! reading would wear it out. Shared memory (`/dev/shm`, a tmpfs) costs nothing and lives as long as the
//! boot. A power cut deletes it, and a new epoch begins. Its name contains the epoch, 53 random bits that
//! only the outbox directory has, so no other user can create it in advance.

use std::{fs::File, io, path::PathBuf};

use super::crc32::crc32;

/// The shared memory of Linux: shm_overview(7).
const FOLDER: &str = "/dev/shm";

/// The content of the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CheckpointData {
    /// The first number whose reading is only in memory; `next` if there is none.
    pub first: u64,
    /// The next number to assign.
    pub next: u64,
}

/// The open checkpoint of an epoch.
#[derive(Debug)]
pub(super) struct Checkpoint {
    epoch: u64,
    file: File,
}

fn path(epoch: u64) -> PathBuf {
    PathBuf::from(FOLDER).join(format!("iotpi-outbox-{epoch:014x}"))
}

impl Checkpoint {
    /// Reads the checkpoint of this epoch, if there is one.
    pub fn read(epoch: u64) -> Option<CheckpointData> {
        let bytes = std::fs::read(path(epoch)).ok()?;
        let (said, sum) = bytes.split_at_checked(16)?;
        if crc32(said).to_le_bytes() != *sum {
            return None;
        }
        let (first, next) = said.split_at(8);
        Some(CheckpointData {
            first: u64::from_le_bytes(first.try_into().ok()?),
            next: u64::from_le_bytes(next.try_into().ok()?),
        })
    }

    /// Opens the checkpoint of this epoch, and creates it if missing.
    #[cfg(unix)]
    pub fn open(epoch: u64, marked: CheckpointData) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;

        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path(epoch))?;
        let mark = Self { epoch, file };
        mark.write(marked)?;
        Ok(mark)
    }

    /// There is no shared memory on this system.
    #[cfg(not(unix))]
    pub fn open(_: u64, _: CheckpointData) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes the checkpoint. It is one write into one page, so a killed process leaves it complete.
    #[cfg(unix)]
    pub fn write(&self, marked: CheckpointData) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;

        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&marked.first.to_le_bytes());
        bytes[8..16].copy_from_slice(&marked.next.to_le_bytes());
        let sum = crc32(&bytes[..16]);
        bytes[16..].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all_at(&bytes, 0)
    }

    /// There is no shared memory on this system.
    #[cfg(not(unix))]
    pub fn write(&self, _: CheckpointData) -> io::Result<()> {
        let _ = &self.file;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes it after an orderly shutdown.
    pub fn remove(self) {
        Self::forget(self.epoch);
    }

    /// Removes the checkpoint of this epoch, if there is one.
    pub fn forget(epoch: u64) {
        let _ = std::fs::remove_file(path(epoch));
    }
}
