//! The reserve: a file beside the database whose room is given to deletions on a full disk.
//!
//! Without room for the WAL SQLite deletes nothing either. Readings and everything else that only adds never get the reserve.
//! Its blocks are allocated and never written, so it costs a card nothing.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::files::with_suffix;
use crate::durable_file::folder_of;

/// How large it is where there is room. A removal needs what is in the WAL when the disk fills up (half a megabyte, which
/// then goes into the database) and some hundred kilobytes for each of its steps.
const BYTES: u64 = 4 << 20;
/// At most one in so many of the free bytes.
const OF_FREE: u64 = 4;
/// A smaller one is of no use.
const LEAST: u64 = 128 << 10;

/// The reserve of a database.
#[derive(Debug)]
pub(super) struct Reserve(PathBuf);

impl Reserve {
    pub(super) fn of(database: &Path) -> Self {
        Self(with_suffix(database, ".reserve"))
    }

    /// Makes it, or a larger one, when there is room for it.
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
        // One that is about as large stays.
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

    /// Gives its room back to the disk. Answers whether there was any.
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
