//! Detects whether the files of an open database were replaced, and whether another process wrote to them.
//!
//! SQLite detects neither: it continues in a file that no longer has a name, and its caches hide overwritten
//! data. Only names are looked up here: opening and closing a database file would drop SQLite's locks on it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    failure::{EngineResult, Failure},
    files::with_suffix,
};

/// The identity of a file, whatever its name: device and inode.
type Identity = (u64, u64);
/// The time of the last write to a file, and its length: seconds, nanoseconds, bytes.
type Written = (i64, i64, u64);

/// The files of an open database. The writer checks them and reports its own writes.
#[derive(Debug, Clone)]
pub(super) struct FileWatch(Arc<Mutex<Files>>);

#[derive(Debug)]
struct Files {
    database: PathBuf,
    /// By suffix: those of [`PARTS`] that existed when the database was opened.
    opened: Vec<(&'static str, Identity)>,
    written: Option<Written>,
    /// Another process has written since the last verification.
    is_unverified: bool,
}

const PARTS: [(&str, &str); 3] = [("", "database"), ("-wal", "WAL"), ("-shm", "index of the WAL")];

impl FileWatch {
    /// Watches the files as they are now, just after they were opened.
    pub(super) fn of(database: &Path) -> Self {
        let found = |(suffix, _)| Some((suffix, identity(&with_suffix(database, suffix)).ok()?));
        let opened = PARTS.into_iter().filter_map(found).collect();
        let written = written(database);
        let database = database.to_owned();
        Self(Arc::new(Mutex::new(Files { database, opened, written, is_unverified: false })))
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that the files exist and that no other process wrote to the database.
    ///
    /// # Errors
    /// A fatal failure if a file is missing or another one has its name.
    pub(super) fn check(&self) -> EngineResult<()> {
        let mut files = self.files();
        files.detect_other_writers();
        for (suffix, opened) in &files.opened {
            let what = PARTS.iter().find(|(part, _)| part == suffix).map_or("database", |(_, what)| what);
            match identity(&with_suffix(&files.database, suffix)) {
                Ok(found) if found == *opened => {}
                Ok(_) => {
                    let why = format!("the file of the {what} was replaced by another while the hub used it");
                    return Err(Failure::fatal(&why).into());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let why = format!("the file of the {what} was deleted while the hub used it");
                    return Err(Failure::fatal(&why).into());
                }
                // The folder cannot be read. Reads and writes of SQLite report their own errors.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Called before the writer writes to the database.
    pub(super) fn before_write(&self) {
        self.files().detect_other_writers();
    }

    /// Called after the writer wrote to the database.
    pub(super) fn after_write(&self) {
        let mut files = self.files();
        files.written = written(&files.database);
    }

    /// Whether the database must be verified because another process wrote to it. Returns true once.
    pub(super) fn take_unverified(&self) -> bool {
        std::mem::take(&mut self.files().is_unverified)
    }
}

impl Files {
    fn detect_other_writers(&mut self) {
        let now = written(&self.database);
        if now.is_some() && now != self.written {
            self.written = now;
            self.is_unverified = true;
        }
    }
}

fn identity(file: &Path) -> io::Result<Identity> {
    fs::metadata(file).map(|found| (found.dev(), found.ino()))
}

fn written(file: &Path) -> Option<Written> {
    fs::metadata(file).ok().map(|found| (found.mtime(), found.mtime_nsec(), found.len()))
}
