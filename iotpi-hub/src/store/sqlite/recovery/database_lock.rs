//! The lock that a hub holds while it has a database open, and the permissions of the folder.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use super::restored_copy::failed;
use crate::{
    durable_file::folder_of,
    store::{Result, StoreError, sqlite::files::with_suffix},
};

/// The suffix of the lock file, which is never removed.
const LOCK: &str = ".lock";

/// The lock, held while a hub has the database open.
#[derive(Debug)]
pub(crate) struct DatabaseLock(#[allow(dead_code, reason = "held, never read")] fs::File);

impl DatabaseLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another process holds it.
    pub(crate) fn take(database: &Path) -> Result<Self> {
        if let Some(folder) = database.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(failed("make the data folder"))?;
        }
        let mut open = fs::OpenOptions::new();
        let file =
            open.write(true).create(true).truncate(false).mode(0o600).open(with_suffix(database, LOCK));
        let file = file.map_err(failed("open the lock file"))?;
        // An earlier version created it for all users, any of whom could have held the lock.
        if file.metadata().is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
            let _ = file.set_permissions(fs::Permissions::from_mode(0o600));
        }
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(fs::TryLockError::WouldBlock) => {
                Err(StoreError::Conflict(format!("a hub has {} open", database.display())))
            }
            Err(fs::TryLockError::Error(error)) => Err(failed("lock the database")(error)),
        }
    }
}

/// A sentence if other users than the owner can access the folder of the database.
pub(crate) fn open_folder(database: &Path) -> Option<String> {
    let mode = fs::metadata(folder_of(database)).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        format!(
            "Other users of this computer can open the data folder (mode {mode:04o}), which contains password hashes and keys. \
             Run `chmod 700` on it."
        )
    })
}
