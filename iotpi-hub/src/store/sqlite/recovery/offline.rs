//! Work on a database file that this process need not have open.

use std::path::Path;

use crate::store::{BackedUp, Result, Salvaged, Verification, sqlite::throttle::paced};

/// See [`store::backup`](crate::store::backup).
pub(crate) async fn backup(database: &Path, to: &Path) -> Result<BackedUp> {
    let (database, to) = (database.to_owned(), to.to_owned());
    paced("make a backup", move |pace| super::backup::copy(&database, &to, pace)).await
}

/// See [`store::verify`](crate::store::verify).
pub(crate) async fn verify(database: &Path, deep: bool) -> Result<Verification> {
    let database = database.to_owned();
    paced("check the database", move |pace| super::verify::verify(&database, deep, pace)).await
}

/// See [`store::examine`](crate::store::examine).
pub(crate) async fn examine(database: &Path, thorough: bool) -> Result<Option<String>> {
    let database = database.to_owned();
    paced("examine the database", move |pace| super::verify::examine(&database, thorough, &pace.hurried()))
        .await
}

/// See [`store::salvage`](crate::store::salvage).
pub(crate) async fn salvage(damaged: &Path, into: &Path) -> Result<Salvaged> {
    let (damaged, into) = (damaged.to_owned(), into.to_owned());
    paced("save what can be read", move |pace| super::salvage::salvage(&damaged, &into, &pace.hurried()))
        .await
}

/// See [`store::readings_in`](crate::store::readings_in).
pub(crate) async fn readings_in(database: &Path) -> Result<u64> {
    let database = database.to_owned();
    paced("count the readings", move |pace| super::verify::readings(&database, pace)).await
}
