//! What a hub does first on a database that was restored from a backup: sessions and signatures of the time before are no
//! longer good, because what was revoked since is not known from the backup.
//!
//! A file beside the database says that it was restored. It is made before the backup gets the database's name and removed when
//! all is done, so that a power cut at any moment changes nothing.

use std::{fs, io, os::unix::fs::OpenOptionsExt as _, path::Path};

use iotpi_core::Timestamp;

use super::{SECURITY, jwt};
use crate::{
    error::{HubError, Result},
    storage::beside,
    store::{Steady, Store},
};

/// The suffix of the file's name, after that of the database.
const SUFFIX: &str = ".restored";

/// A backup is about to take the database's place.
pub(crate) fn mark_restored(database: &Path) -> io::Result<()> {
    let mut open = fs::OpenOptions::new();
    open.write(true).create(true).truncate(false).mode(0o600).open(beside(database, SUFFIX))?.sync_all()
}

/// Whether the database was restored and not renewed since.
pub(crate) fn is_restored(database: &Path) -> bool {
    beside(database, SUFFIX).exists()
}

/// Ends all sessions and replaces the key of JWTs and signed URLs, if the database was restored. Answers whether it was.
///
/// # Errors
/// The store's; `Internal` when the file that says so cannot be removed.
pub(crate) async fn renew_if_restored(store: &dyn Store) -> Result<bool> {
    let Some(database) = store.file().filter(|database| is_restored(database)) else { return Ok(false) };
    store.clamp_sessions(Steady(Timestamp::MIN)).await?;
    jwt::rotate_key(store).await?;
    tracing::warn!(
        target: SECURITY,
        "the database was restored from a backup: all sessions were ended, and the key of JWTs and signed URLs was replaced. \
         Passwords and users are those of the backup: look through `iotpi-hub user list`, and set again the passwords that were \
         changed since"
    );
    fs::remove_file(beside(database, SUFFIX)).map_err(|error| {
        HubError::internal("the mark of a restored database cannot be removed").caused_by(error)
    })?;
    Ok(true)
}
