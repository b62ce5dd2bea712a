//! Opens the database of a hub in any state.
//!
//! Damage is what SQLite reports as such: not a database, malformed, or inconsistent pages. A database that
//! cannot be *read*, or that belongs to another program or a newer hub, is not damaged: the hub refuses to
//! start and changes nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use iotpi_core::Timestamp;

use super::{
    backup_folder,
    database_lock::DatabaseLock,
    offline,
    quarantine::{Reason, Replacement, Source},
    restored_copy::{copy_of, failed, sound},
    salvage_attempt,
};
use crate::store::{
    Result, Store, StoreError, StoreOptions,
    sqlite::{
        Sqlite,
        files::{RESTORING, SUSPECT, with_suffix},
    },
};

/// A database up to this size is verified at every start: a second on a slow card.
const SMALL_BYTES: u64 = 16 << 20;

/// The repair of a damaged database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The damage.
    pub why: String,
    /// The folder that now has all its files.
    pub quarantine: PathBuf,
    /// The backup that replaced it; `None` if a new database did.
    pub restored: Option<PathBuf>,
    /// The data that was saved into the new database, in words, if there was any.
    pub salvaged: Option<String>,
}

/// Whether the database is marked for verification.
pub(crate) fn is_suspect(database: &Path) -> bool {
    with_suffix(database, SUSPECT).exists()
}

/// A store opened for a hub.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) lock: Option<DatabaseLock>,
    pub(crate) recovered: Option<Recovered>,
}

/// Opens the database at this path. `damage` describes the damage that an earlier attempt found, if there was
/// one.
pub(crate) async fn open(
    database: &Path,
    backups: &Path,
    options: StoreOptions,
    now: Timestamp,
    damage: Option<String>,
) -> Result<Opened> {
    let lock = DatabaseLock::take(database)?;
    let mut recovered = recover(database, backups, now, damage).await?;
    let store = match Sqlite::open_file(database, options).await {
        Err(StoreError::Damaged { context, source }) if recovered.is_none() => {
            recovered = recover(database, backups, now, Some(format!("{context}: {source}"))).await?;
            Sqlite::open_file(database, options).await?
        }
        opened => opened?,
    };
    Ok(Opened { store: Arc::new(store), lock: Some(lock), recovered })
}

/// Moves a damaged database to quarantine and installs a replacement; completes a replacement that an earlier
/// start began.
async fn recover(
    database: &Path,
    backups: &Path,
    now: Timestamp,
    damage: Option<String>,
) -> Result<Option<Recovered>> {
    if let Some(replacement) = Replacement::resume(database).map_err(failed("read what was begun"))? {
        return replace(database, backups, replacement).await.map(Some);
    }
    let size = |file: &Path| fs::metadata(file).map_or(0, |found| found.len());
    let look = is_suspect(database) || size(database) + size(&with_suffix(database, "-wal")) <= SMALL_BYTES;
    let damage = match damage {
        Some(why) => Some(why),
        None => offline::examine(database, look).await?,
    };
    let emptied = || {
        database.exists()
            && size(database) == 0
            && backup_folder::list(backups, database).is_ok_and(|b| !b.is_empty())
    };
    let damage = damage
        .or_else(|| emptied().then(|| "the database file is empty, but backups of it exist".to_owned()));
    let Some(why) = damage else {
        // The database was verified and is intact.
        let _ = fs::remove_file(with_suffix(database, SUSPECT));
        return Ok(None);
    };
    let replacement = Replacement::begin(database, Reason::Damaged, &why, now, None)
        .map_err(failed("quarantine the database"))?;
    replace(database, backups, replacement).await.map(Some)
}

/// Carries out the steps of [`super::quarantine`] from step 3.
async fn replace(database: &Path, backups: &Path, replacement: Replacement) -> Result<Recovered> {
    replacement.move_files(database).map_err(failed("quarantine the database"))?;
    let quarantine = replacement.folder(database);
    let mut source = replacement.installed(database);
    if !database.exists() {
        let backup = newest_sound(database, backups, &replacement).await;
        let saved = salvage_attempt::save(database, &replacement, backup.as_deref()).await?;
        source = saved.map(Source::Salvaged).or(backup.map(Source::Backup));
        if let Some(from) = &source {
            // A copy that fails, for example because the disk is full, is retried at the next start. No new
            // database is created until then.
            install(&replacement, database, from).await?;
        }
    }
    // The mark belonged to the old database.
    let _ = fs::remove_file(with_suffix(database, SUSPECT));
    let why = replacement.why.clone();
    let report = replacement.end(database, source).map_err(failed("quarantine the database"))?;
    Ok(Recovered { why, quarantine, restored: report.restored, salvaged: report.salvaged })
}

/// The requested backup, or the newest intact one.
async fn newest_sound(database: &Path, backups: &Path, replacement: &Replacement) -> Option<PathBuf> {
    let mut sources: Vec<PathBuf> = replacement.restore.iter().cloned().collect();
    let newest_first = backup_folder::list(backups, database).unwrap_or_default().into_iter().rev();
    sources.extend(newest_first.map(|backup| backup.path));
    for source in sources {
        match sound(&source).await {
            Ok(_) => return Some(source),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error, backup = %source.display(), "a backup is of no use"
            ),
        }
    }
    None
}

/// Installs the verified copy of an intact backup, or the saved data, as the database.
async fn install(replacement: &Replacement, database: &Path, from: &Source) -> Result<()> {
    let copy = with_suffix(database, RESTORING);
    if let Source::Backup(backup) = from {
        let copied = replacement.copied && replacement.restore.as_deref() == Some(backup.as_path());
        if !(copied && sound(&copy).await.is_ok()) {
            copy_of(database, backup).await?;
        }
    }
    replacement.install(database, &copy, from).map_err(failed("install the database"))
}

/// Moves the current database to quarantine with all its files, and installs a backup in its place. Returns
/// the quarantine folder.
///
/// # Errors
/// [`StoreError::Conflict`] if a hub has the database open, or a database exists and `force` is not set;
/// [`StoreError::Damaged`] if the backup is damaged; the system's.
///
/// # Cancel safety
/// If it is interrupted, the next start of a hub or the next restore completes it.
pub async fn restore(database: &Path, backup: &Path, force: bool, now: Timestamp) -> Result<PathBuf> {
    let _lock = DatabaseLock::take(database)?;
    let backup = backup.canonicalize().map_err(failed("find the backup"))?;
    if database.canonicalize().is_ok_and(|database| database == backup) {
        return Err(StoreError::Conflict("that is the database itself".to_owned()));
    }
    sound(&backup).await?;
    let mut begun = Replacement::resume(database).map_err(failed("read what was begun"))?;
    if begun.is_none() && database.exists() && !force {
        return Err(StoreError::Conflict(format!("there is a database at {}", database.display())));
    }
    // Before any file is moved: if there is no space for the copy, nothing changes.
    copy_of(database, &backup).await?;
    if let Some(begun) = &mut begun {
        begun.restore = Some(backup.clone());
        begun.copied = true;
        begun.save(database).map_err(failed("put the database aside"))?;
    }
    let replacement = match begun {
        Some(begun) => begun,
        None => {
            let why = format!("replaced by {}", backup.display());
            Replacement::begin(database, Reason::Replaced, &why, now, Some(backup.clone()))
                .map_err(failed("put the database aside"))?
        }
    };
    let folder = replacement.folder(database);
    let done = replace(database, &folder.join("none"), replacement).await?;
    if done.restored == Some(backup) {
        return Ok(folder);
    }
    // An earlier start was interrupted after it had installed another database.
    Err(StoreError::Conflict("what was begun before is ended now; restore once more".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    const NOW: Timestamp = Timestamp::from_micros(1_795_473_000_000_000);

    async fn open_at(database: &Path, damage: Option<String>) -> Result<Opened> {
        open(database, &database.with_file_name("backups"), StoreOptions::default(), NOW, damage).await
    }

    struct Home {
        folder: tempfile::TempDir,
    }

    impl Home {
        /// Creates a database with a note, and a backup of the database.
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let home = Self { folder };
            let opened = home.open().await.unwrap();
            opened.store.set_note("from", "\"backup\"").await.unwrap();
            opened.store.close().await.unwrap();
            drop(opened);
            home.back_up().await;
            home
        }

        fn database(&self) -> PathBuf {
            self.folder.path().join("hub.db")
        }

        async fn back_up(&self) {
            backup_folder::make(&self.database(), &self.folder.path().join("backups"), 9, NOW).await.unwrap();
        }

        async fn open(&self) -> Result<Opened> {
            open_at(&self.database(), None).await
        }

        /// Opens and closes the database. Returns the recovery that was done, and the note.
        async fn note(&self) -> (Option<Recovered>, Option<String>) {
            let opened = self.open().await.unwrap();
            let note = opened.store.note("from").await.unwrap();
            opened.store.close().await.unwrap();
            (opened.recovered, note)
        }

        /// Replaces the database with garbage and returns the garbage.
        fn damage(&self) -> Vec<u8> {
            let garbage = vec![0xa5; 50_000];
            fs::write(self.database(), &garbage).unwrap();
            garbage
        }
    }

    #[tokio::test]
    async fn a_damaged_database_is_quarantined_and_the_newest_sound_backup_restored() {
        let home = Home::new().await;
        home.back_up().await;
        let backups = backup_folder::list(&home.folder.path().join("backups"), &home.database()).unwrap();
        fs::write(&backups[1].path, "damaged").unwrap();
        let old = home.damage();

        let (recovered, note) = home.note().await;

        let recovered = recovered.unwrap();
        assert_eq!(recovered.restored.as_ref(), Some(&backups[0].path), "the newest backup is damaged, too");
        assert_eq!(fs::read(recovered.quarantine.join("hub.db")).unwrap(), old);
        assert_eq!(note.as_deref(), Some("\"backup\""));
        assert_eq!(home.note().await.0, None, "the recovery is done once");
    }

    #[tokio::test]
    async fn without_a_backup_an_empty_database_is_created() {
        let home = Home::new().await;
        fs::remove_dir_all(home.folder.path().join("backups")).unwrap();
        let old = home.damage();

        let (recovered, note) = home.note().await;

        let recovered = recovered.unwrap();
        assert_eq!((recovered.restored, note), (None, None));
        assert_eq!(fs::read(recovered.quarantine.join("hub.db")).unwrap(), old);
    }

    #[tokio::test]
    async fn a_recovery_interrupted_at_any_point_is_completed_by_the_next_start() {
        for step in ["saved", "WAL moved", "all moved", "copied", "installed"] {
            let home = Home::new().await;
            let old = home.damage();
            let wal = with_suffix(&home.database(), "-wal");
            fs::write(&wal, "an old WAL").unwrap();
            let replacement =
                Replacement::begin(&home.database(), Reason::Damaged, "a test", NOW, None).unwrap();
            let quarantine = replacement.folder(&home.database());
            if step == "WAL moved" {
                fs::rename(&wal, quarantine.join("hub.db-wal")).unwrap();
            }
            if ["all moved", "copied", "installed"].contains(&step) {
                replacement.move_files(&home.database()).unwrap();
            }
            if step == "copied" {
                fs::write(with_suffix(&home.database(), RESTORING), "incomplete").unwrap();
            }
            if step == "installed" {
                let newest = home.folder.path().join("backups/hub-000001-20261123T223000Z.db");
                install(&replacement, &home.database(), &Source::Backup(newest)).await.unwrap();
            }
            let direct_open = store::open(&format!("sqlite://{}", home.database().display())).await;
            assert!(
                matches!(direct_open, Err(StoreError::Engine { .. })),
                "{step}: the recovery is incomplete"
            );

            let (recovered, note) = home.note().await;

            let recovered = recovered.unwrap();
            assert_eq!(note.as_deref(), Some("\"backup\""), "{step}");
            assert!(recovered.restored.is_some(), "{step}");
            assert_eq!(recovered.quarantine, quarantine, "{step}");
            assert_eq!(fs::read(quarantine.join("hub.db")).unwrap(), old, "{step}");
            assert_eq!(fs::read(quarantine.join("hub.db-wal")).unwrap(), b"an old WAL", "{step}");
            assert!(!with_suffix(&home.database(), ".aside").exists(), "{step}");
            assert_eq!(
                home.note().await,
                (None, Some("\"backup\"".to_owned())),
                "{step}: the recovery is done once"
            );
        }
    }

    #[tokio::test]
    async fn a_foreign_newer_or_unreadable_file_is_not_changed() {
        let home = Home::new().await;
        let copy_with = |sql: &str| {
            let folder = tempfile::tempdir_in(home.folder.path()).unwrap();
            let copy = folder.path().join("hub.db");
            fs::copy(home.database(), &copy).unwrap();
            rusqlite::Connection::open(&copy).unwrap().execute_batch(sql).unwrap();
            (folder, copy)
        };
        let foreign = copy_with("PRAGMA application_id = 7");
        let newer = copy_with("PRAGMA user_version = 99");
        let unreadable = tempfile::tempdir().unwrap();
        let folder = unreadable.path().join("hub.db");
        fs::create_dir(&folder).unwrap();

        for path in [&foreign.1, &newer.1, &folder] {
            let before = fs::read(path).ok();

            let refused = open_at(path, None).await;

            assert!(matches!(refused.map(|_| ()), Err(StoreError::Engine { .. })), "{}", path.display());
            assert_eq!(fs::read(path).ok(), before);
            assert!(!with_suffix(path, ".aside").exists());
            let files = path.parent().unwrap().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
            assert!(files.into_iter().all(|name| !name.to_string_lossy().contains("quarantine")));
        }
    }

    #[tokio::test]
    async fn only_one_hub_can_open_a_database() {
        let home = Home::new().await;
        let opened = home.open().await.unwrap();

        let second = home.open().await.map(|_| ());
        let restored =
            restore(&home.database(), &home.folder.path().join("backups/none.db"), true, NOW).await;

        assert!(matches!(second, Err(StoreError::Conflict(_))), "{second:?}");
        assert!(matches!(restored, Err(StoreError::Conflict(_))), "{restored:?}");
        opened.store.close().await.unwrap();
        drop(opened);
        home.open().await.unwrap().store.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_suspect_database_is_verified_and_accepted_if_it_is_sound() {
        let home = Home::new().await;
        let suspect = with_suffix(&home.database(), SUSPECT);
        fs::write(&suspect, "an I/O error").unwrap();

        let (recovered, note) = home.note().await;

        assert_eq!((recovered, note.as_deref()), (None, Some("\"backup\"")));
        assert!(!suspect.exists());
    }

    #[tokio::test]
    async fn a_database_that_an_earlier_attempt_found_damaged_is_quarantined() {
        let home = Home::new().await;

        let opened = open_at(&home.database(), Some("a test".to_owned())).await.unwrap();

        assert_eq!(opened.recovered.as_ref().unwrap().why, "a test");
        opened.store.close().await.unwrap();
    }

    #[tokio::test]
    async fn an_interrupted_restore_is_completed_by_the_next_start() {
        let home = Home::new().await;
        let opened = home.open().await.unwrap();
        opened.store.set_note("from", "\"present\"").await.unwrap();
        opened.store.close().await.unwrap();
        drop(opened);
        let newest = home.folder.path().join("backups/hub-000001-20261123T223000Z.db");
        let requested = home.folder.path().join("requested.db");
        store::backup(&home.database(), &requested).await.unwrap();
        let changed = store::open(&format!("sqlite://{}", requested.display())).await.unwrap();
        changed.set_note("from", "\"requested\"").await.unwrap();
        changed.close().await.unwrap();
        copy_of(&home.database(), &requested).await.unwrap();
        let replacement =
            Replacement::begin(&home.database(), Reason::Replaced, "a test", NOW, Some(requested)).unwrap();

        let (recovered, note) = home.note().await;

        assert!(newest.exists() && recovered.unwrap().quarantine == replacement.folder(&home.database()));
        assert_eq!(note.as_deref(), Some("\"requested\""), "the requested backup, not the newest one");
    }

    #[tokio::test]
    async fn a_database_cannot_be_restored_from_itself() {
        let home = Home::new().await;

        let refused = restore(&home.database(), &home.database(), true, NOW).await;

        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
        assert_eq!(home.note().await.1.as_deref(), Some("\"backup\""));
    }

    #[tokio::test]
    async fn a_backup_is_restored_with_its_own_wal() {
        let home = Home::new().await;
        let opened = home.open().await.unwrap();
        opened.store.set_note("from", "\"wal\"").await.unwrap();
        let copy = home.folder.path().join("copy.db");
        for part in ["", "-wal"] {
            fs::copy(with_suffix(&home.database(), part), with_suffix(&copy, part)).unwrap();
        }
        opened.store.set_note("from", "\"later\"").await.unwrap();
        opened.store.close().await.unwrap();
        drop(opened);

        let unforced = restore(&home.database(), &copy, false, NOW).await;
        let quarantine = restore(&home.database(), &copy, true, NOW).await.unwrap();

        assert!(matches!(unforced, Err(StoreError::Conflict(_))), "{unforced:?}");
        assert_eq!(home.note().await, (None, Some("\"wal\"".to_owned())));
        let quarantined = store::open(&format!("sqlite://{}/hub.db", quarantine.display())).await.unwrap();
        assert_eq!(quarantined.note("from").await.unwrap().as_deref(), Some("\"later\""));
        quarantined.close().await.unwrap();
    }
}
