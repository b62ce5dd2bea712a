//! Backups: a copy of the database at one moment, made while it is in use.
//!
//! SQLite's backup interface copies page by page, so it can pause, and copying a chunk costs no more than its
//! bytes, while `VACUUM INTO` writes every row again in one statement. The copy starts over whenever another
//! connection commits, unless its source holds a read transaction: then it copies that snapshot to its end,
//! and the rows counted in the snapshot are those of the copy.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

use super::verify;
use crate::{
    durable_file,
    store::{
        BackedUp, BoxError, Result, StoreError,
        sqlite::{
            failure::engine_error,
            files::{SIDE_FILES, with_suffix},
            throttle::Throttle,
        },
    },
};

/// The pages of a step, 1 MiB: a commit waits for at most one step.
const STEP: i32 = 256;

/// See [`MaintainStore::backup`](crate::store::MaintainStore::backup).
pub(crate) fn copy(database: &Path, to: &Path, throttle: &Throttle) -> Result<BackedUp> {
    if to.try_exists().map_err(failed("look for the backup"))? {
        return Err(StoreError::Conflict(format!("{} is there already", to.display())));
    }
    let partial = Partial::new(to)?;
    let source = verify::open(database, throttle)?;
    let snapshot = source.unchecked_transaction().map_err(engine_error("begin a snapshot"))?;
    // The snapshot is taken by the first read.
    let rows = verify::rows(&snapshot)?;
    write(&snapshot, &partial, throttle)?;
    snapshot.finish().map_err(engine_error("end the snapshot"))?;

    let found = verify::verify(&partial.0, true, throttle)?;
    if !found.is_sound() || found.rows != rows {
        let why = if found.is_sound() {
            "its rows are not those of the database".to_owned()
        } else {
            found.faults.join("; ")
        };
        return Err(StoreError::Damaged { context: "verify the backup", source: why.into() });
    }
    let bytes = fs::metadata(&partial.0).map_err(failed("read the backup"))?.len();
    partial.finish(to)?;
    Ok(BackedUp { bytes, rows })
}

fn write(source: &Connection, partial: &Partial, throttle: &Throttle) -> Result<()> {
    let file = fs::File::open(&partial.0).map_err(failed("write the backup"))?;
    let mut copy = Connection::open(&partial.0).map_err(engine_error("write the backup"))?;
    let off = |copy: &Connection| -> rusqlite::Result<()> {
        // No journal: an incomplete copy is deleted. The copy is synced here, after each step.
        copy.pragma_update_and_check(None, "journal_mode", "off", |_| Ok(()))?;
        copy.pragma_update(None, "synchronous", "off")?;
        copy.pragma_update(None, "cache_size", -2048)
    };
    off(&copy).map_err(engine_error("write the backup"))?;
    {
        let backup = Backup::new(source, &mut copy).map_err(engine_error("write the backup"))?;
        loop {
            let began = Instant::now();
            let step = backup.step(STEP).map_err(engine_error("write the backup"))?;
            // Without this the kernel collects hundreds of megabytes, and the sync of a commit waits for all
            // of them.
            file.sync_data().map_err(failed("write the backup"))?;
            if !throttle.pause(began) {
                return Err(StoreError::Closed);
            }
            if step == StepResult::Done {
                break;
            }
        }
    }
    // A single file that can be copied anywhere.
    let one_file = copy.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()));
    one_file.map_err(engine_error("write the backup"))?;
    copy.close().map_err(|(_, error)| engine_error("write the backup")(error))?;
    file.sync_all().map_err(failed("write the backup"))
}

/// The file of a backup until it is verified. Removed when it is dropped before that.
struct Partial(PathBuf);

impl Partial {
    fn new(to: &Path) -> Result<Self> {
        let partial = with_suffix(to, ".partial");
        // The leftover of a killed process.
        remove(&partial);
        let mut make = fs::OpenOptions::new();
        make.write(true).create_new(true).mode(0o600);
        make.open(&partial).map_err(failed("make the backup file"))?;
        Ok(Self(partial))
    }

    /// Gives the file its final name. Content and name are on disk when this returns.
    fn finish(self, to: &Path) -> Result<()> {
        durable_file::rename(&self.0, to)
            .and_then(|()| durable_file::sync_folder_of(to))
            .map_err(failed("name the backup"))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(partial: &Path) {
    for file in SIDE_FILES {
        // Usually missing.
        let _ = fs::remove_file(with_suffix(partial, file));
    }
}

fn failed<E: Into<BoxError>>(context: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Engine { context, source: error.into() }
}
