//! The store contract for SQLite in a file, in memory and with immediate compaction, and tests of this engine
//! alone.

mod chunks;
mod command_model;
mod file;
mod pages;
mod queries;
mod removals;
mod salvage;
mod writer;

use std::path::Path;

use iotpi_core::{ModuleId, Quantity, Reading, Sample, Timestamp};

use super::Sqlite;
use crate::store::{
    Now, Page, PageRequest, ReadReadings as _, ReadingQuery, Steady, StoreError, StoreOptions,
    contract::all_pages,
};

mod in_a_file {
    use std::sync::Arc;

    use crate::store::{self, Store};

    async fn fresh() -> (Arc<dyn Store>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/hub.db", folder.path().display());
        (store::open(&url).await.unwrap(), folder)
    }

    crate::store_contract!(fresh);
}

mod in_memory {
    use std::sync::Arc;

    use crate::store::{self, Store};

    async fn fresh() -> (Arc<dyn Store>, ()) {
        (store::open("sqlite::memory:").await.unwrap(), ())
    }

    crate::store_contract!(fresh);
}

/// Each commit is compacted at once.
mod compacting {
    use std::sync::Arc;

    use crate::store::{Store, StoreOptions, sqlite::Sqlite};

    async fn fresh() -> (Arc<dyn Store>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let location = format!("//{}/hub.db", folder.path().display());
        let options = StoreOptions { compact_at: Some(1), ..StoreOptions::default() };
        (Arc::new(Sqlite::open(&location, options).await.unwrap()), folder)
    }

    crate::store_contract!(fresh);
}

const NOW: Now = {
    let wall = Timestamp::from_micros(1_795_472_000_000_000);
    Now { wall, steady: Steady(wall) }
};

async fn open(path: &Path) -> Result<Sqlite, StoreError> {
    Sqlite::open(&format!("//{}", path.display()), StoreOptions::default()).await
}

fn reading(of: &str, n: i64) -> Reading {
    let taken_at = Timestamp::from_micros(NOW.wall.as_micros() + n);
    Reading::new(ModuleId::new(of).unwrap(), Sample::new(Quantity::Temperature, n as f64), taken_at)
}

/// A query for all temperatures, oldest first or newest first.
fn temperatures(ascending: bool) -> ReadingQuery {
    ReadingQuery {
        sensor: Quantity::Temperature.name(),
        module_id: None,
        channel: None,
        since: None,
        until: None,
        not_after: None,
        ascending,
    }
}

/// The items of all pages of a list.
async fn all_items<T>(limit: u32, next: impl AsyncFnMut(PageRequest) -> Page<T>) -> Vec<T> {
    all_pages(limit, next).await.0
}

/// All temperatures, oldest first.
async fn all_readings(store: &Sqlite) -> Vec<Reading> {
    let query = temperatures(true);
    all_items(1000, async |page| store.readings(&query, &page).await.unwrap()).await
}

async fn count_readings(store: &Sqlite) -> usize {
    all_readings(store).await.len()
}
