//! The reserve: a file beside the database whose space is released for deletions on a full disk.
//!
//! Without space for the WAL, SQLite cannot delete either. Readings and other additions never get the
//! reserve. Its blocks are allocated and never written, so it does not wear a card.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::files::with_suffix;
use crate::durable_file::folder_of;

/// The size of the reserve if there is enough space. A removal needs the size of the WAL when the disk
/// becomes full (a megabyte, which is then checkpointed into the database) and some hundred kilobytes
/// for each of its steps.
const BYTES: u64 = 4 << 20;
/// The reserve is at most one part in this many of the free bytes.
const OF_FREE: u64 = 4;
/// A smaller reserve is useless.
const LEAST: u64 = 128 << 10;

/// The reserve of a database.
#[derive(Debug)]
pub(super) struct Reserve(PathBuf);

impl Reserve {
    pub(super) fn of(database: &Path) -> Self {
        Self(with_suffix(database, ".reserve"))
    }

    /// Creates or enlarges the reserve if there is space.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn make(&self) -> io::Result<()> {
        let had = match fs::metadata(&self.0) {
            Ok(there) => there.blocks() * 512,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let disk = statvfs(folder_of(&self.0))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let wanted = BYTES.min(free.saturating_add(had) / OF_FREE);
        // An existing reserve of about that size is kept.
        if wanted < LEAST || had >= wanted / 4 * 3 {
            return Ok(());
        }
        self.release()?;
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.0)?;
        let made = fallocate(&file, FallocateFlags::empty(), 0, wanted);
        if made.is_err() {
            self.release()?;
        }
        Ok(made?)
    }

    /// Releases its space. Returns whether there was any.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn release(&self) -> io::Result<bool> {
        match fs::remove_file(&self.0) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_uses_space_until_it_is_released() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(&folder.path().join("hub.db"));

        assert!(!reserve.release().unwrap());
        for _ in 0..2 {
            reserve.make().unwrap();
            let metadata = fs::metadata(folder.path().join("hub.db.reserve")).unwrap();
            assert_eq!((metadata.len(), metadata.mode() & 0o777), (BYTES, 0o600));
            assert!(metadata.blocks() * 512 >= BYTES);
        }
        assert!(reserve.release().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
