//! Whether the files of an open database are still the ones that were opened, and whether somebody else wrote into them.
//!
//! SQLite notices neither: it goes on in a file that has no name any more, and what it has in its caches hides what was
//! overwritten. Only names are looked up here: to open and close a database's file would drop SQLite's locks on it.

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

/// Which file it is, whatever its name: the device and the number there.
type Identity = (u64, u64);
/// When a file was last written and how long it is: seconds, nanoseconds, bytes.
type Written = (i64, i64, u64);

/// The files of one open database. The writer asks, and says when it wrote itself.
#[derive(Debug, Clone)]
pub(super) struct FileWatch(Arc<Mutex<Files>>);

#[derive(Debug)]
struct Files {
    database: PathBuf,
    /// Of the suffixes of [`PARTS`] that were there when it was opened.
    opened: Vec<(&'static str, Identity)>,
    written: Option<Written>,
    /// Somebody else has written since it was last verified.
    is_unverified: bool,
}

const PARTS: [(&str, &str); 3] = [("", "database"), ("-wal", "WAL"), ("-shm", "index of the WAL")];

impl FileWatch {
    /// Watches the files as they are now, which is just after they were opened.
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

    /// Finds out whether the files are there and nobody else wrote into the database.
    ///
    /// # Errors
    /// A fatal failure when a file is gone or another lies in its place.
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
                // The folder cannot be looked at: the reads and writes of SQLite say what that is worth.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The writer is about to write into the database.
    pub(super) fn before_write(&self) {
        self.files().detect_other_writers();
    }

    /// The writer has written into the database.
    pub(super) fn after_write(&self) {
        let mut files = self.files();
        files.written = written(&files.database);
    }

    /// Whether the database wants to be verified because somebody else wrote into it; asked again, no.
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
