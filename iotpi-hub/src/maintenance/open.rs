//! Opening the store that the config names.

use iotpi_core::Timestamp;

use super::{Opened, backup};
use crate::{
    Config,
    store::{self, Result, StoreOptions, recovery},
};

/// Opens the store that the config names; a database file is recovered first if necessary. `damage` describes
/// the damage that an earlier attempt found, if there was one.
///
/// # Errors
/// The store's.
pub(crate) async fn open(
    config: &Config,
    options: StoreOptions,
    now: Timestamp,
    damage: Option<String>,
) -> Result<Opened> {
    match store::file(&config.store) {
        Some(database) => {
            let backups = backup::folder(&config.backup, &database);
            recovery::open(&database, &backups, options, now, damage).await
        }
        None => {
            let store = store::open_with(&config.store, options).await?;
            Ok(Opened { store, lock: None, recovered: None })
        }
    }
}
