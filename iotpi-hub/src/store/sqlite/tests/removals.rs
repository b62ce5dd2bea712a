//! Modules that are removed with many records: a bounded step at a time, and to the end whatever happens.

use std::path::Path;

use iotpi_core::{GapReason, ModuleId, NewGap, Timestamp};
use rusqlite::Connection;

use super::{NOW, open, reading, recorded};
use crate::store::{
    MaintainStore as _, ReadModules as _, StoreError, WriteModules as _, WriteReadings as _,
    sqlite::{module_removal, series::removed},
};

/// A chunk does not reach over 30 days: each of these readings is one.
async fn many_chunks(path: &Path, of: &str, count: i64) {
    let store = open(path).await.unwrap();
    let readings = (0..count).map(|n| {
        let taken_at = Timestamp::from_micros(NOW.wall.as_micros() - n * 31 * 86_400 * 1_000_000);
        iotpi_core::Reading { taken_at, ..reading(of, n) }
    });
    store.record(readings.collect(), 10, NOW).await.unwrap();
    store.record(vec![reading("other", 1)], 10, NOW).await.unwrap();
    store.settle().await.unwrap();
    store.close().await.unwrap();
}

fn database(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.pragma_update(None, "foreign_keys", true).unwrap();
    db
}

fn count(path: &Path, table: &str) -> i64 {
    database(path).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn attic() -> ModuleId {
    ModuleId::new("attic").unwrap()
}

#[tokio::test]
async fn rows_of_a_removed_module_are_deleted_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    many_chunks(&path, "attic", 50).await;

    // What is on the disk when the process is killed behind the first step of the deletion.
    let db = database(&path);
    assert!(module_removal::step(&db, &attic()).unwrap());
    assert!(removed::delete_records(&db).unwrap());
    drop(db);
    assert!(count(&path, "chunks") > 2);
    let store = open(&path).await.unwrap();
    let removed = store.module(&attic()).await.unwrap();
    // One of the same name begins anew before the records of the old one are gone.
    store.record(vec![reading("attic", 7)], 10, NOW).await.unwrap();
    let found = recorded(&store).await;
    store.settle().await.unwrap();
    let later = recorded(&store).await;
    store.close().await.unwrap();

    assert_eq!((removed, found, later), (None, 2, 2));
    assert_eq!((count(&path, "chunks"), count(&path, "series"), count(&path, "modules")), (2, 2, 2));
    assert_eq!(count(&path, "rollups WHERE series_id NOT IN (SELECT id FROM series)"), 0);
}

#[tokio::test]
async fn an_incomplete_module_removal_is_completed_when_the_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let store = open(&path).await.unwrap();
    for n in 1..=450 {
        let gap =
            NewGap { epoch: 1, first_seq: n, last_seq: n, reason: GapReason::ALL[0], series: Vec::new() };
        store.record_gap(&attic(), &gap, NOW).await.unwrap();
    }
    store.close().await.unwrap();

    let first = module_removal::step(&database(&path), &attic()).unwrap();
    let store = open(&path).await.unwrap();

    assert!(!first, "450 gaps are more than one step deletes");
    assert_eq!(store.module(&attic()).await.unwrap(), None);
    assert!(matches!(store.remove_module(&attic()).await, Err(StoreError::NotFound(_))));
    assert_eq!((count(&path, "gaps"), count(&path, "notes")), (0, 0));
}

#[tokio::test]
async fn each_step_of_a_deletion_deletes_at_most_8_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    many_chunks(&path, "attic", 50).await;
    let db = database(&path);
    assert!(module_removal::step(&db, &attic()).unwrap());

    let (mut chunks, mut steps) = (count(&path, "chunks"), 0);
    while removed::delete_records(&db).unwrap() {
        let left = count(&path, "chunks");
        assert!(chunks - left <= 8, "{chunks} chunks, then {left}");
        (chunks, steps) = (left, steps + 1);
    }

    assert_eq!(chunks, 1, "that of the other module");
    assert!(steps >= 7, "{steps} steps");
}
