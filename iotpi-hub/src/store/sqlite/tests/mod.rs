//! The contract on a file and in memory, and what only this engine promises.

mod file;
mod command_model;
mod pages;
mod queries;
mod removals;
mod chunks;
mod salvage;
mod writer;

use std::path::Path;

use iotpi_core::{ModuleId, Quantity, Reading, Sample, Timestamp};

use super::Sqlite;
use crate::store::{
    Now, Page, PageRequest, ReadReadings as _, ReadingQuery, Steady, StoreError, StoreOptions,
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

/// Every commit is folded at once.
mod compacting {
    use std::sync::Arc;

    use crate::store::{Store, StoreOptions, sqlite::Sqlite};

    async fn fresh() -> (Arc<dyn Store>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let place = format!("//{}/hub.db", folder.path().display());
        (
            Arc::new(
                Sqlite::open(&place, StoreOptions { compact_at: Some(1), ..StoreOptions::default() })
                    .await
                    .unwrap(),
            ),
            folder,
        )
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

/// Every temperature, oldest first or newest first.
fn temperatures(ascending: bool) -> ReadingQuery {
    ReadingQuery {
        sensor: Quantity::Temperature.name(),
        module_id: None,
        since: None,
        until: None,
        not_after: None,
        ascending,
    }
}

/// Follows a list to its end.
async fn whole<T>(limit: u32, mut next: impl AsyncFnMut(PageRequest) -> Page<T>) -> Vec<T> {
    let mut request = PageRequest { limit, cursor: None };
    let mut items = Vec::new();
    loop {
        let page = next(request).await;
        items.extend(page.items);
        match page.next {
            None => return items,
            cursor => request = PageRequest { limit, cursor },
        }
    }
}

/// All records, oldest first.
async fn everything(store: &Sqlite, ascending: bool) -> Vec<Reading> {
    let query = temperatures(ascending);
    whole(1000, async |page| store.readings(&query, &page).await.unwrap()).await
}

/// How many records there are.
async fn recorded(store: &Sqlite) -> usize {
    let query = temperatures(true);
    whole(1000, async |page| store.readings(&query, &page).await.unwrap()).await.len()
}
