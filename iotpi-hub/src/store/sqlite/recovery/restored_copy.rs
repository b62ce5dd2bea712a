//! The copy of a backup that is about to become the database.

use std::{fs, io, path::Path};

use super::offline;
use crate::store::{
    Result, StoreError, Verification,
    sqlite::{
        file::SCHEMA_VERSION,
        files::{RESTORING, SIDE_FILES, with_suffix},
    },
};

/// Copies a backup beside the database, with its WAL if it has one, and verifies the copy.
pub(crate) async fn copy_of(database: &Path, backup: &Path) -> Result<()> {
    remove_copy(database)?;
    offline::backup(backup, &with_suffix(database, RESTORING)).await.map(drop)
}

/// Removes a copy that is unused or that a killed process left.
pub(crate) fn remove_copy(database: &Path) -> Result<()> {
    for part in SIDE_FILES.into_iter().chain([".image"]) {
        match fs::remove_file(with_suffix(&with_suffix(database, RESTORING), part)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("remove an old copy")(error)),
        }
    }
    Ok(())
}

pub(crate) async fn sound(backup: &Path) -> Result<Verification> {
    if let Some(fault) = offline::examine(backup, false).await? {
        return Err(StoreError::Damaged { context: "verify the backup", source: fault.into() });
    }
    let found = offline::verify(backup, true).await?;
    match found.faults.first() {
        Some(fault) => {
            Err(StoreError::Damaged { context: "verify the backup", source: fault.clone().into() })
        }
        // An empty file is a database, too, but not one of a hub.
        None if found.version == 0 => {
            Err(StoreError::Conflict(format!("{} is no database of a hub", backup.display())))
        }
        None if found.version > SCHEMA_VERSION => {
            Err(StoreError::Conflict(format!("{} was made by a newer hub", backup.display())))
        }
        None => Ok(found),
    }
}

pub(crate) fn failed(context: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull => StoreError::Full(error.into()),
        _ => StoreError::Engine { context, source: error.into() },
    }
}
