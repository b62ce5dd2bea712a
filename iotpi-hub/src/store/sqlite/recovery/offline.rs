//! Operations on a database file that this process need not have open.

use std::path::Path;

use crate::store::{BackedUp, Result, Salvaged, Verification, sqlite::throttle::throttled};

/// See [`store::backup`](crate::store::backup).
pub(crate) async fn backup(database: &Path, to: &Path) -> Result<BackedUp> {
    let (database, to) = (database.to_owned(), to.to_owned());
    throttled("make a backup", move |throttle| super::backup::copy(&database, &to, throttle)).await
}

/// See [`store::verify`](crate::store::verify).
pub(crate) async fn verify(database: &Path, deep: bool) -> Result<Verification> {
    let database = database.to_owned();
    throttled("check the database", move |throttle| super::verify::verify(&database, deep, throttle)).await
}

/// See [`store::examine`](crate::store::examine).
pub(crate) async fn examine(database: &Path, thorough: bool) -> Result<Option<String>> {
    let database = database.to_owned();
    throttled("examine the database", move |throttle| {
        super::verify::examine(&database, thorough, &throttle.unthrottled())
    })
    .await
}

/// See [`store::salvage`](crate::store::salvage).
pub(crate) async fn salvage(damaged: &Path, into: &Path) -> Result<Salvaged> {
    let (damaged, into) = (damaged.to_owned(), into.to_owned());
    throttled("save what can be read", move |throttle| {
        super::salvage::salvage(&damaged, &into, &throttle.unthrottled())
    })
    .await
}

/// See [`store::readings_in`](crate::store::readings_in).
pub(crate) async fn readings_in(database: &Path) -> Result<u64> {
    let database = database.to_owned();
    throttled("count the readings", move |throttle| super::verify::readings(&database, throttle)).await
}
