//! What a hub does first on a database that was restored from a backup: sessions and signatures of the time before are no
//! longer good, because what was revoked since is not known from the backup.
//!
//! A file beside the database says that it was restored. It is made before the backup gets the database's name and removed when
//! all is done, so that a power cut at any moment changes nothing.

use std::{fs, path::Path};

use iotpi_core::Timestamp;

use super::{SECURITY, jwt};
use crate::{
    error::{HubError, Result},
    store::{RESTORED, Steady, Store, with_suffix},
};

/// Whether the database was restored and not renewed since.
pub(crate) fn is_restored(database: &Path) -> bool {
    with_suffix(database, RESTORED).exists()
}

/// Ends all sessions and replaces the key of JWTs and signed URLs, if the database was restored. Answers whether it was.
///
/// # Errors
/// The store's; `Internal` when the file that says so cannot be removed.
pub(crate) async fn reset_credentials_if_restored(store: &dyn Store) -> Result<bool> {
    let Some(database) = store.file().filter(|database| is_restored(database)) else { return Ok(false) };
    store.clamp_sessions(Steady(Timestamp::MIN)).await?;
    jwt::rotate_key(store).await?;
    tracing::warn!(
        target: SECURITY,
        "the database was restored from a backup: all sessions were ended, and the key of JWTs and signed URLs was replaced. \
         Passwords and users are those of the backup: look through `iotpi-hub user list`, and set again the passwords that were \
         changed since"
    );
    fs::remove_file(with_suffix(database, RESTORED)).map_err(|error| {
        HubError::internal("the mark of a restored database cannot be removed").caused_by(error)
    })?;
    Ok(true)
}
