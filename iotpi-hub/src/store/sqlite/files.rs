//! The files beside a database. Their names are the path of the database with a suffix.

use std::path::{Path, PathBuf};

/// The suffixes of SQLite's own files. The database itself, with no suffix, is last: the order in which they
/// are moved.
pub(crate) const SIDE_FILES: [&str; 4] = ["-shm", "-journal", "-wal", ""];
/// The suffix of the file that records a replacement of the database that has begun.
pub(crate) const REPLACING: &str = ".aside";
/// The suffix of the file that requests a verification at the next start.
pub(crate) const SUSPECT: &str = ".suspect";
/// The suffix of the copy that is about to become the database.
pub(crate) const RESTORING: &str = ".restoring";
/// The suffix of the file that marks the database as restored from a backup.
pub(crate) const RESTORED: &str = ".restored";

/// The path with a suffix after its last component.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
