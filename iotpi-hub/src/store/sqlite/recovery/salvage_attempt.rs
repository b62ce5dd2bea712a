//! Decides whether the readable data of a damaged database is worth more than the newest backup.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    offline,
    quarantine::{Reason, Replacement},
    restored_copy::{failed, remove_copy, sound},
};
use crate::store::{
    Result, Salvaged, StoreError,
    sqlite::files::{RESTORING, SIDE_FILES, with_suffix},
};

/// Saves the readable data of a damaged database in quarantine into a copy beside the database. Returns a
/// description of the data; `None` if there is less than in the backup, or nothing.
pub(super) async fn save(
    database: &Path,
    replacement: &Replacement,
    backup: Option<&Path>,
) -> Result<Option<String>> {
    if replacement.reason != Reason::Damaged || replacement.restore.is_some() {
        return Ok(None);
    }
    remove_copy(database)?;
    let copy = with_suffix(database, RESTORING);
    let folder = replacement.folder(database);
    let damaged = folder.join(database.file_name().unwrap_or_default());
    let link = |parts| Linked::new(&damaged, folder.join("salvage.db"), parts);
    let mut linked = link(&["", "-wal"]).map_err(failed("read the old database"))?;
    // If the database is intact without its WAL, the WAL belongs to another database and is left out.
    if !linked.is_sound().await {
        drop(linked);
        linked = link(&[""]).map_err(failed("read the old database"))?;
        if !linked.is_sound().await {
            drop(linked);
            linked = link(&["", "-wal"]).map_err(failed("read the old database"))?;
        }
    }
    let saved = match linked.salvage(&copy).await {
        Ok(Some(saved)) if sound(&copy).await.is_ok() => saved,
        Err(error @ StoreError::Full(_)) => return Err(error),
        nothing => {
            tracing::error!(?nothing, "nothing could be saved of the damaged database");
            remove_copy(database)?;
            return Ok(None);
        }
    };
    let better = match backup {
        None => saved.modules + saved.users + saved.tokens > 0,
        Some(backup) => {
            let in_backup = offline::readings_in(backup).await.unwrap_or(u64::MAX);
            saved.has_all_but_readings() && saved.readings >= in_backup
        }
    };
    if !better {
        remove_copy(database)?;
    }
    Ok(better.then(|| saved.to_string()))
}

/// Hard links to the files of a database. SQLite changes files when it opens a database: it creates an index
/// of the WAL, and removes a WAL that it does not need. Removed when dropped.
struct Linked(PathBuf);

impl Linked {
    /// Links the files with these suffixes: `""` is the database, `"-wal"` its WAL.
    fn new(database: &Path, name: PathBuf, parts: &[&str]) -> io::Result<Self> {
        let linked = Self(name);
        linked.remove();
        for part in parts {
            let (from, to) = (with_suffix(database, part), with_suffix(&linked.0, part));
            // Some file systems have no links.
            if from.exists() && fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to)?;
            }
        }
        Ok(linked)
    }

    async fn is_sound(&self) -> bool {
        offline::examine(&self.0, true).await.is_ok_and(|damage| damage.is_none())
    }

    /// Returns `None` if more than some pages are damaged: the header or the tables cannot be read, or the
    /// WAL belongs to another database.
    async fn salvage(&self, copy: &Path) -> Result<Option<Salvaged>> {
        if !self.0.exists() || offline::examine(&self.0, false).await?.is_some() {
            return Ok(None);
        }
        offline::salvage(&self.0, copy).await.map(Some)
    }

    fn remove(&self) {
        for part in SIDE_FILES {
            // Usually missing.
            let _ = fs::remove_file(with_suffix(&self.0, part));
        }
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        self.remove();
    }
}
