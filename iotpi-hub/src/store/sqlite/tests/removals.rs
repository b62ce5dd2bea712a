//! Removal of modules with many rows: in steps of bounded size, and to the end, also after a crash.

use std::path::Path;

use iotpi_core::{
    ModuleId, Timestamp,
    model::gap::{GapReason, NewGap},
};
use rusqlite::Connection;

use super::{NOW, count_readings, open, reading};
use crate::store::{
    MaintainStore as _, ReadModules as _, StoreError, WriteModules as _, WriteReadings as _,
    sqlite::{module_removal, series::removed},
};

/// Records `count` readings of a module with a chunk each: a chunk spans at most 30 days.
async fn record_chunks(path: &Path, of: &str, count: i64) {
    let store = open(path).await.unwrap();
    let readings = (0..count).map(|n| {
        let taken_at = Timestamp::from_micros(NOW.wall.as_micros() - n * 31 * 86_400 * 1_000_000);
        reading(of, n).with_taken_at(taken_at)
    });
    store.record(readings.collect(), 10, NOW).await.unwrap();
    store.record(vec![reading("other", 1)], 10, NOW).await.unwrap();
    store.compact().await.unwrap();
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
    record_chunks(&path, "attic", 50).await;

    // The state of the file if the process is killed after the first step of the deletion.
    let db = database(&path);
    assert!(module_removal::step(&db, &attic()).unwrap());
    assert!(removed::delete_records(&db).unwrap());
    drop(db);
    assert!(count(&path, "chunks") > 2);
    let store = open(&path).await.unwrap();
    let module = store.module(&attic()).await.unwrap();
    // A new module with the same id starts empty before the rows of the removed one are deleted.
    store.record(vec![reading("attic", 7)], 10, NOW).await.unwrap();
    let before = count_readings(&store).await;
    store.compact().await.unwrap();
    let after = count_readings(&store).await;
    store.close().await.unwrap();

    assert_eq!((module, before, after), (None, 2, 2));
    assert_eq!((count(&path, "chunks"), count(&path, "series"), count(&path, "modules")), (2, 2, 2));
    assert_eq!(count(&path, "rollups WHERE series_id NOT IN (SELECT id FROM series)"), 0);
}

#[tokio::test]
async fn an_incomplete_module_removal_is_completed_when_the_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let store = open(&path).await.unwrap();
    for n in 1..=450 {
        let gap = NewGap::new(1, n, n, GapReason::Full);
        store.record_gap(&attic(), &gap, NOW).await.unwrap();
    }
    store.close().await.unwrap();

    let is_complete = module_removal::step(&database(&path), &attic()).unwrap();
    let store = open(&path).await.unwrap();

    assert!(!is_complete, "a step deletes fewer than 450 gaps");
    assert_eq!(store.module(&attic()).await.unwrap(), None);
    assert!(matches!(store.remove_module(&attic()).await, Err(StoreError::NotFound(_))));
    assert_eq!((count(&path, "gaps"), count(&path, "notes")), (0, 0));
}

#[tokio::test]
async fn each_step_of_a_deletion_deletes_at_most_8_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    record_chunks(&path, "attic", 50).await;
    let db = database(&path);
    assert!(module_removal::step(&db, &attic()).unwrap());

    let (mut chunks, mut steps) = (count(&path, "chunks"), 0);
    while removed::delete_records(&db).unwrap() {
        let remaining = count(&path, "chunks");
        assert!(chunks - remaining <= 8, "{chunks} chunks, then {remaining}");
        (chunks, steps) = (remaining, steps + 1);
        assert!(steps < 1000, "the deletion ends");
    }

    assert_eq!(chunks, 1, "the chunk of the other module");
    assert!(steps >= 7, "{steps} steps");
}
