//! The reset of credentials after a database was restored from a backup. All sessions and signatures become
//! invalid, because the backup does not contain later revocations.
//!
//! A marker file next to the database requests the reset. It is created before the backup gets the name of
//! the database and removed after the reset, so a power cut at any time cannot skip the reset.

use std::{fs, path::Path};

use iotpi_core::Timestamp;

use super::{SECURITY, jwt};
use crate::{
    error::{HubError, Result},
    store::{RESTORED, Steady, Store, with_suffix},
};

/// Whether the database was restored and its credentials were not reset yet.
pub(crate) fn is_restored(database: &Path) -> bool {
    with_suffix(database, RESTORED).exists()
}

/// Ends all sessions and replaces the signing key if the database was restored. Returns whether it was.
///
/// # Errors
/// The errors of the store; `Internal` if the marker file cannot be removed.
pub(crate) async fn reset_credentials_if_restored(store: &dyn Store) -> Result<bool> {
    let Some(database) = store.file().filter(|database| is_restored(database)) else { return Ok(false) };
    store.clamp_sessions(Steady(Timestamp::MIN)).await?;
    jwt::rotate_key(store).await?;
    tracing::warn!(
        target: SECURITY,
        "the database was restored from a backup: all sessions were ended, and the signing key of JWTs and URLs was replaced. \
         Users and passwords are those of the backup: check `iotpi-hub user list`, and set the passwords again that were \
         changed since"
    );
    fs::remove_file(with_suffix(database, RESTORED)).map_err(|error| {
        HubError::internal("the marker file of a restored database cannot be removed").caused_by(error)
    })?;
    Ok(true)
}
