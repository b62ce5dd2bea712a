//! Moves a database to quarantine with all its files, so that a power cut at any moment mixes no files.
//!
//! A WAL does not record its database: SQLite applies any WAL that is beside a database. So no other database
//! may be put beside the old one's WAL, and no WAL may be separated from its database. The order:
//!
//! 1. the quarantine folder is created and synced;
//! 2. `hub.db.aside` records the folder, the reason and the next step; it is written under another name,
//!    synced, and renamed;
//! 3. `-shm`, `-journal`, `-wal` and the database are renamed into the folder, in this order, never over
//!    another file;
//! 4. both folders are synced;
//! 5. the replacement of the database is copied beside it, synced, verified, and renamed to its name;
//! 6. the report is written into the folder, and `hub.db.aside` is removed.
//!
//! While `hub.db.aside` exists, no database is opened at that path ([`store::open`](crate::store::open)
//! refuses), and the next start resumes at step 3: a file that is not in the folder yet is the old one. Once
//! the database is in the folder, the file at its path is the replacement, which SQLite has not opened and
//! which has no WAL.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use iotpi_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::backup_folder::stamp;
use crate::{
    durable_file::{folder_of, rename, replace, sync_folder_of},
    store::sqlite::files::{REPLACING, RESTORED, SIDE_FILES, with_suffix},
};

const REPORT: &str = "report.json";
const ACKNOWLEDGED: &str = "acknowledged";

/// The reason for a quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// The database is damaged.
    Damaged,
    /// Another database is being restored.
    Replaced,
}

/// A replacement that has begun, as `hub.db.aside` records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replacement {
    /// The name of the folder, beside the database.
    folder: String,
    pub(crate) reason: Reason,
    /// The reason, in one sentence.
    pub(crate) why: String,
    /// Microseconds since 1970. The clock may be wrong.
    at_us: i64,
    /// The suffixes of the files that existed at the beginning.
    parts: Vec<String>,
    /// The backup to install next, if one was named.
    pub(crate) restore: Option<PathBuf>,
    /// Whether a copy of it exists beside the database.
    pub(crate) copied: bool,
}

/// The content of a quarantine folder, as its report describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) at_us: i64,
    pub(crate) why: String,
    /// The backup that replaced it; `None` if a new database did.
    pub(crate) restored: Option<PathBuf>,
    /// The data that was saved into the new database, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) salvaged: Option<String>,
}

/// The replacement of a database in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A backup.
    Backup(PathBuf),
    /// A database with the data saved from the old one, described in words.
    Salvaged(String),
}

impl Replacement {
    /// Carries out steps 1 and 2.
    pub(crate) fn begin(
        database: &Path,
        reason: Reason,
        why: &str,
        at: Timestamp,
        restore: Option<PathBuf>,
    ) -> io::Result<Self> {
        let word = match reason {
            Reason::Damaged => "quarantine",
            Reason::Replaced => "replaced",
        };
        let first = format!("{}.{word}-{}", name(database), stamp(at));
        let mut folder = first.clone();
        let mut more = 2;
        while let Err(error) = fs::DirBuilder::new().mode(0o700).create(database.with_file_name(&folder)) {
            // The clock may show the same time again.
            if error.kind() != io::ErrorKind::AlreadyExists || more > 1_000 {
                return Err(error);
            }
            folder = format!("{first}-{more}");
            more += 1;
        }
        sync_folder_of(database)?;
        let parts = SIDE_FILES.iter().filter(|part| with_suffix(database, part).exists());
        let parts = parts.map(|part| (*part).to_owned()).collect();
        let replacement = Self {
            folder,
            reason,
            why: why.to_owned(),
            at_us: at.as_micros(),
            parts,
            copied: restore.is_some(),
            restore,
        };
        replacement.save(database)?;
        Ok(replacement)
    }

    /// Writes it to disk.
    pub(crate) fn save(&self, database: &Path) -> io::Result<()> {
        replace(&with_suffix(database, REPLACING), &serde_json::to_vec(self)?)
    }

    /// The replacement that has begun and not ended, if there is one.
    pub(crate) fn resume(database: &Path) -> io::Result<Option<Self>> {
        match fs::read(with_suffix(database, REPLACING)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn folder(&self, database: &Path) -> PathBuf {
        database.with_file_name(&self.folder)
    }

    /// The files that are not renamed yet, in order.
    fn moves(&self, database: &Path) -> Vec<(PathBuf, PathBuf)> {
        let folder = self.folder(database);
        let moves = self
            .parts
            .iter()
            .map(|part| (with_suffix(database, part), folder.join(format!("{}{part}", name(database)))));
        moves.filter(|(from, to)| from.exists() && !to.exists()).collect()
    }

    /// Carries out steps 3 and 4, or what is left of them.
    pub(crate) fn move_files(&self, database: &Path) -> io::Result<()> {
        for (from, to) in self.moves(database) {
            rename(&from, &to)?;
        }
        if !database.exists() {
            // Another program opened the path meanwhile. Its files must not stay beside the new database.
            for part in SIDE_FILES.iter().filter(|part| with_suffix(database, part).exists()) {
                rename(&with_suffix(database, part), &self.folder(database).join(format!("late{part}")))?;
            }
        }
        fs::File::open(self.folder(database))?.sync_all()?;
        sync_folder_of(database)
    }

    /// The second half of step 5: the verified copy gets the name of the database.
    pub(crate) fn install(&self, database: &Path, copy: &Path, from: &Source) -> io::Result<()> {
        // First, so that a start after a power cut finds the marker.
        if matches!(from, Source::Backup(_)) {
            mark_restored(database)?;
        }
        self.report(database, Some(from.clone()))?;
        rename(copy, database)?;
        sync_folder_of(database)
    }

    /// The replacement that an earlier start installed, if it did.
    pub(crate) fn installed(&self, database: &Path) -> Option<Source> {
        let report = read_report(&self.folder(database)).filter(|_| database.exists())?;
        let saved = report.salvaged.map(Source::Salvaged);
        report.restored.map(Source::Backup).or(saved)
    }

    fn report(&self, database: &Path, from: Option<Source>) -> io::Result<Report> {
        let (restored, salvaged) = match from {
            Some(Source::Backup(backup)) => (Some(backup), None),
            Some(Source::Salvaged(what)) => (None, Some(what)),
            None => (None, None),
        };
        let report = Report { at_us: self.at_us, why: self.why.clone(), restored, salvaged };
        replace(&self.folder(database).join(REPORT), &serde_json::to_vec_pretty(&report)?)?;
        Ok(report)
    }

    /// Carries out step 6.
    pub(crate) fn end(self, database: &Path, from: Option<Source>) -> io::Result<Report> {
        let report = self.report(database, from)?;
        fs::remove_file(with_suffix(database, REPLACING))?;
        sync_folder_of(database)?;
        Ok(report)
    }
}

/// The databases in quarantine, oldest first: the folder, its report, and whether it was acknowledged.
pub(crate) fn list(database: &Path) -> io::Result<Vec<(PathBuf, Report, bool)>> {
    let prefix = format!("{}.quarantine-", name(database));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder_of(database))? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        let report = read_report(&entry.path()).unwrap_or(Report {
            at_us: 0,
            why: "the report is missing".to_owned(),
            restored: None,
            salvaged: None,
        });
        found.push((entry.path(), report, entry.path().join(ACKNOWLEDGED).exists()));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

/// Acknowledges all databases in quarantine.
pub(crate) fn acknowledge(database: &Path) -> io::Result<usize> {
    let mut acknowledged = 0;
    for (folder, _, seen) in list(database)? {
        if !seen {
            replace(&folder.join(ACKNOWLEDGED), b"")?;
            acknowledged += 1;
        }
    }
    Ok(acknowledged)
}

fn read_report(folder: &Path) -> Option<Report> {
    serde_json::from_slice(&fs::read(folder.join(REPORT)).ok()?).ok()
}

fn name(database: &Path) -> String {
    database.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Records that a backup is about to replace the database.
fn mark_restored(database: &Path) -> io::Result<()> {
    let mut open = fs::OpenOptions::new();
    let marker = with_suffix(database, RESTORED);
    open.write(true).create(true).truncate(false).mode(0o600).open(marker)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_795_473_000_000_000);

    fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let entries =
            fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
        let mut files: Vec<_> = entries
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    }

    fn damaged(home: &Path) -> (PathBuf, Vec<(String, Vec<u8>)>) {
        let database = home.join("hub.db");
        for part in SIDE_FILES {
            fs::write(with_suffix(&database, part), format!("old {part}")).unwrap();
        }
        (database, files(home))
    }

    #[test]
    fn after_a_crash_at_any_step_all_files_reach_the_quarantine_folder() {
        for done in 0..=SIDE_FILES.len() {
            let home = tempfile::tempdir().unwrap();
            let (database, old) = damaged(home.path());
            let replacement = Replacement::begin(&database, Reason::Damaged, "a test", NOW, None).unwrap();
            for (from, to) in replacement.moves(&database).into_iter().take(done) {
                rename(&from, &to).unwrap();
            }

            // The process is killed, and the next one starts.
            let found = Replacement::resume(&database).unwrap().unwrap();
            found.move_files(&database).unwrap();

            assert_eq!(found, replacement);
            assert_eq!(files(&replacement.folder(&database)), old, "killed after {done} renames");
            assert_eq!(files(home.path()).len(), 1, "only hub.db.aside is left");
            found.end(&database, None).unwrap();
            assert_eq!(Replacement::resume(&database).unwrap(), None);
        }
    }

    #[test]
    fn after_a_crash_before_the_replacement_is_saved_no_file_has_moved() {
        let home = tempfile::tempdir().unwrap();
        let (database, old) = damaged(home.path());

        // Step 1, and step 2 without its rename.
        fs::create_dir(home.path().join("hub.db.quarantine-20261123T223000Z")).unwrap();
        fs::write(home.path().join("hub.db.aside.new"), "{\"fold").unwrap();

        assert_eq!(Replacement::resume(&database).unwrap(), None);
        let replacement = Replacement::begin(&database, Reason::Damaged, "a test", NOW, None).unwrap();
        replacement.move_files(&database).unwrap();
        assert_eq!(files(&replacement.folder(&database)), old);
    }

    #[test]
    fn after_a_crash_the_installed_database_is_not_moved() {
        let home = tempfile::tempdir().unwrap();
        let (database, old) = damaged(home.path());
        let replacement = Replacement::begin(&database, Reason::Damaged, "a test", NOW, None).unwrap();
        replacement.move_files(&database).unwrap();
        let copy = home.path().join("copy");
        fs::write(&copy, "new").unwrap();
        let backup = Source::Backup("/backups/1.db".into());
        replacement.install(&database, &copy, &backup).unwrap();

        let found = Replacement::resume(&database).unwrap().unwrap();
        found.move_files(&database).unwrap();

        assert_eq!(found.installed(&database), Some(backup));
        assert_eq!(fs::read(&database).unwrap(), b"new");
        let mut replacement: Vec<_> = files(&found.folder(&database));
        replacement.retain(|(name, _)| name != REPORT);
        assert_eq!(replacement, old);
    }

    #[test]
    fn if_the_old_database_was_missing_the_installed_one_is_not_moved() {
        let home = tempfile::tempdir().unwrap();
        let database = home.path().join("hub.db");
        fs::write(with_suffix(&database, "-wal"), "old").unwrap();
        let replacement = Replacement::begin(&database, Reason::Damaged, "a test", NOW, None).unwrap();
        replacement.move_files(&database).unwrap();
        let copy = home.path().join("copy");
        fs::write(&copy, "new").unwrap();
        replacement.install(&database, &copy, &Source::Backup("/backups/1.db".into())).unwrap();

        Replacement::resume(&database).unwrap().unwrap().move_files(&database).unwrap();

        assert_eq!(fs::read(&database).unwrap(), b"new");
        assert!(!replacement.folder(&database).join("hub.db").exists());
    }

    #[test]
    fn side_files_that_appear_during_a_replacement_are_moved() {
        let home = tempfile::tempdir().unwrap();
        let (database, _) = damaged(home.path());
        let replacement = Replacement::begin(&database, Reason::Damaged, "a test", NOW, None).unwrap();
        replacement.move_files(&database).unwrap();
        fs::write(with_suffix(&database, "-wal"), "another program's").unwrap();

        replacement.move_files(&database).unwrap();

        assert!(!with_suffix(&database, "-wal").exists());
        assert_eq!(fs::read(replacement.folder(&database).join("late-wal")).unwrap(), b"another program's");
    }

    #[test]
    fn replacements_in_the_same_second_have_separate_folders() {
        let home = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let (database, _) = damaged(home.path());
            let replacement = Replacement::begin(&database, Reason::Damaged, "a test", NOW, None).unwrap();
            replacement.move_files(&database).unwrap();
            replacement.end(&database, None).unwrap();
        }

        let database = home.path().join("hub.db");
        let found = list(&database).unwrap();
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|(folder, report, seen)| {
            files(folder).len() == SIDE_FILES.len() + 1 && report.why == "a test" && !seen
        }));
        assert_eq!(acknowledge(&database).unwrap(), 3);
        assert!(list(&database).unwrap().iter().all(|(_, _, seen)| *seen));
        assert_eq!(acknowledge(&database).unwrap(), 0);
    }
}
