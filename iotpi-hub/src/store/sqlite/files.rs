//! The files that lie beside a database, and how they are named: the database's path with a suffix.

use std::path::{Path, PathBuf};

/// The suffixes of SQLite's own files. The database itself, with no suffix, is last: that is the order in which they are moved.
pub(crate) const SIDE_FILES: [&str; 4] = ["-shm", "-journal", "-wal", ""];
/// The suffix of the file that records a replacement of the database that has begun.
pub(crate) const REPLACING: &str = ".aside";
/// The suffix of the file that asks for an integrity check at the next start.
pub(crate) const SUSPECT: &str = ".suspect";
/// The suffix of the copy that is about to become the database.
pub(crate) const RESTORING: &str = ".restoring";
/// The suffix of the file that says that the database was restored from a backup.
pub(crate) const RESTORED: &str = ".restored";

/// The path with a suffix after its last component.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
