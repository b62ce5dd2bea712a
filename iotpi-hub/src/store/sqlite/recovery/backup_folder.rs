//! The folder with the backups: their names, the newest one, and the removal of old ones.
//!
//! A backup is `hub-000042-20261124T162502Z.db`: numbered, because a clock may jump, and named only after it
//! was verified.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use iotpi_core::Timestamp;

use super::offline;
use crate::store::{BackedUp, Result, StoreError};

/// A backup in the folder. It was verified when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFile {
    /// The number, which increases by one with each backup.
    pub number: u64,
    /// The time of the backup by the hub's clock; `None` if the file was renamed.
    pub at: Option<Timestamp>,
    /// The size in bytes.
    pub bytes: u64,
    /// The path.
    pub path: PathBuf,
}

/// The backups of a database in a folder, oldest first. A missing folder has no backups.
///
/// # Errors
/// The system's.
pub fn list(folder: &Path, database: &Path) -> io::Result<Vec<BackupFile>> {
    let prefix = format!("{}-", stem(database));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let named = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".db")?.split_once('-'));
        let Some((number, stamp)) = named else { continue };
        if let Ok(number) = number.parse() {
            let bytes = entry.metadata()?.len();
            found.push(BackupFile { number, at: read_stamp(stamp), bytes, path: entry.path() });
        }
    }
    found.sort_by_key(|backup| backup.number);
    Ok(found)
}

/// Makes and verifies a backup in the folder, then removes the oldest ones beyond `keep`. Works while a hub
/// has the database open.
///
/// # Errors
/// As [`MaintainStore::backup`](crate::store::MaintainStore::backup).
///
/// # Cancel safety
/// As [`MaintainStore::backup`](crate::store::MaintainStore::backup).
pub async fn make(
    database: &Path,
    folder: &Path,
    keep: u32,
    now: Timestamp,
) -> Result<(BackupFile, BackedUp)> {
    let failed =
        |error: io::Error| StoreError::Engine { context: "use the backup folder", source: error.into() };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let before = list(folder, database).map_err(failed)?;
    let number = before.last().map_or(1, |newest| newest.number.saturating_add(1));
    let path = folder.join(format!("{}-{number:06}-{}.db", stem(database), stamp(now)));
    let made = offline::backup(database, &path).await?;
    let keep_of_those = (keep.max(1) - 1) as usize;
    for old in before.iter().rev().skip(keep_of_those) {
        if let Err(error) = fs::remove_file(&old.path) {
            tracing::warn!(%error, file = %old.path.display(), "an old backup could not be removed");
        }
    }
    Ok((BackupFile { number, at: Some(now), bytes: made.bytes, path }, made))
}

fn stem(database: &Path) -> String {
    database.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// `20261124T162502Z`: sorts by time, and is valid on every file system.
pub(crate) fn stamp(at: Timestamp) -> String {
    let text = at.to_string();
    let seconds = text.split(['.', 'Z']).next().unwrap_or_default();
    format!("{}Z", seconds.replace(['-', ':'], ""))
}

fn read_stamp(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let part = |text: &str, from: usize, to: usize| text.get(from..to).map(str::to_owned);
    Timestamp::parse(&format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(date, 0, 4)?,
        part(date, 4, 6)?,
        part(date, 6, 8)?,
        part(time, 0, 2)?,
        part(time, 2, 4)?,
        part(time, 4, 6)?
    ))
    .ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store;

    const NOW: Timestamp = Timestamp::from_micros(1_795_473_000_250_000);

    async fn database(folder: &Path) -> PathBuf {
        let file = folder.join("hub.db");
        let store = store::open(&format!("sqlite://{}", file.display())).await.unwrap();
        store.set_note("exists", "true").await.unwrap();
        store.close().await.unwrap();
        file
    }

    #[test]
    fn a_backup_name_contains_its_time() {
        assert_eq!(stamp(NOW), "20261123T223000Z");
        assert_eq!(read_stamp("20261123T223000Z"), Some(Timestamp::from_micros(1_795_473_000_000_000)));
        for invalid in ["", "Z", "20261123", "2026T2230Z", "today"] {
            assert_eq!(read_stamp(invalid), None, "{invalid}");
        }
    }

    #[tokio::test]
    async fn the_newest_backups_remain_even_if_the_clock_is_set_back() {
        let home = tempfile::tempdir().unwrap();
        let (database, folder) = (database(home.path()).await, home.path().join("backups"));
        fs::create_dir(&folder).unwrap();
        let other = folder.join("photos.db");
        fs::write(&other, "another file").unwrap();

        for hours in [5, 4, 3, 2, 1] {
            let earlier = NOW.plus(Duration::from_secs(3_600 * hours));
            make(&database, &folder, 2, earlier).await.unwrap();
        }

        let backups = list(&folder, &database).unwrap();
        assert_eq!(backups.iter().map(|backup| backup.number).collect::<Vec<_>>(), [4, 5]);
        assert!(backups.iter().all(|backup| backup.bytes > 0 && backup.at.is_some()));
        assert_eq!(fs::read(other).unwrap(), b"another file");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "no incomplete backup is left");
    }

    #[tokio::test]
    async fn a_failed_backup_deletes_no_older_one() {
        let home = tempfile::tempdir().unwrap();
        let (database, folder) = (database(home.path()).await, home.path().join("backups"));
        make(&database, &folder, 1, NOW).await.unwrap();
        let mut bytes = fs::read(&database).unwrap();
        bytes[8192..].fill(0x5a);
        fs::write(&database, bytes).unwrap();

        let failed = make(&database, &folder, 1, NOW).await;

        assert!(matches!(failed, Err(StoreError::Damaged { .. })), "{failed:?}");
        let backups = list(&folder, &database).unwrap();
        assert_eq!(backups.len(), 1);
        assert!(store::verify(&backups[0].path, true).await.unwrap().is_sound());
    }
}
