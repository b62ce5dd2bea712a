//! The database file: its permissions, pragmas and version, and concurrent access.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use iotpi_core::{ModuleId, Outcome};
use rusqlite::Connection;

use super::{NOW, count_readings, open, reading};
use crate::store::{
    self, MaintainStore as _, PageRequest, ReadModules as _, ReadReadings as _, ReadUsers as _, StoreError,
    WriteModules as _, WriteReadings as _,
    sqlite::{
        failure::EngineResult,
        file::{APPLICATION_ID, SCHEMA_VERSION},
    },
};

/// The error with its source.
fn message(error: &StoreError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

#[test]
fn the_bundled_sqlite_is_3_54_or_newer() {
    assert!(rusqlite::version_number() >= 3_054_000, "{}", rusqlite::version());
}

#[tokio::test]
async fn an_invalid_store_url_is_refused() {
    for url in ["", "sqlite", "sqlite:", "sqlite://", "sqlite:hub.db", "postgres://host/db", "/tmp/hub.db"] {
        let result = store::open(url).await;
        assert!(matches!(&result, Err(StoreError::BadUrl(bad)) if bad == url), "{url}: {result:?}");
    }
}

#[tokio::test]
async fn the_file_and_its_folder_are_created_for_the_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("var/lib/hub.db");

    let store = open(&path).await.unwrap();
    store.record(vec![reading("attic", 1)], 10, NOW).await.unwrap();

    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_file_name("hub.db-wal")), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[tokio::test]
async fn acknowledged_readings_are_found_when_the_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let store = open(&path).await.unwrap();
    store.record(vec![reading("attic", 1), reading("attic", 2)], 10, NOW).await.unwrap();
    drop(store);

    let store = open(&path).await.unwrap();
    assert_eq!(count_readings(&store).await, 2);
    // Arrival numbers continue: of two readings of one microsecond, the later arrival is newer.
    let later = reading("attic", 2).with_outcome(Outcome::Value(99.0));
    store.record(vec![later.clone()], 10, NOW).await.unwrap();
    let newest = store.newest(None, None, &PageRequest::default()).await.unwrap();
    assert_eq!(newest.items[0].outcome, later.outcome);
}

#[tokio::test]
async fn a_store_that_is_closed_or_dropped_leaves_one_file() {
    for close in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("hub.db")).await.unwrap();
        store.record(vec![reading("attic", 1)], 10, NOW).await.unwrap();

        if close {
            store.close().await.unwrap();
        }
        drop(store);

        let files: Vec<_> = folder.path().read_dir().unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, ["hub.db"]);
    }
}

#[tokio::test]
async fn a_copy_of_the_open_files_has_every_acknowledged_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let store = open(&path).await.unwrap();
    for n in 0..20 {
        store.record(vec![reading("attic", n)], 10, NOW).await.unwrap();
    }

    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(folder.path().join("hub.db-wal"), folder.path().join("copy.db-wal")).unwrap();

    assert_eq!(count_readings(&open(&copy).await.unwrap()).await, 20);
}

#[tokio::test]
async fn the_pragmas_that_durability_requires_are_set() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();
    let pragma = async |name: &'static str| {
        let query = move |db: &Connection| -> EngineResult<_> {
            Ok(db.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))?)
        };
        (store.write("query", move |tx| query(tx)).await.unwrap(), store.read("query", query).await.unwrap())
    };

    let wal = rusqlite::types::Value::Text("wal".to_owned());
    assert_eq!(pragma("journal_mode").await, (wal.clone(), wal));
    assert_eq!(pragma("synchronous").await.0, 2.into());
    assert_eq!(pragma("foreign_keys").await.0, 1.into());
    assert_eq!(pragma("query_only").await, (0.into(), 1.into()));
    assert_eq!(pragma("user_version").await.0, (SCHEMA_VERSION as i64).into());
}

#[tokio::test]
async fn a_database_of_a_newer_hub_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    open(&path).await.unwrap().close().await.unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(&path).unwrap();

    let error = open(&path).await.unwrap_err();

    assert!(message(&error).contains("version 99, made by a newer hub"), "{}", message(&error));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_database_of_an_unreleased_version_is_refused_and_not_changed() {
    for (version, table) in [(1, "arrivals"), (2, "journal"), (6, "journal"), (1, "series")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(&format!("CREATE TABLE {table} (a); CREATE TABLE modules (id TEXT)")).unwrap();
        old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        old.pragma_update(None, "user_version", version).unwrap();
        old.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
        drop(old);
        let before = std::fs::read(&path).unwrap();

        let opened = open(&path).await.unwrap_err();
        let examined = super::super::recovery::offline::examine(&path, true).await.unwrap_err();

        for error in [opened, examined] {
            assert!(matches!(error, StoreError::Engine { .. }), "not damaged: {error:?}");
            assert!(message(&error).contains("unreleased development version"), "{}", message(&error));
        }
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

#[tokio::test]
async fn opening_a_database_of_this_version_does_not_change_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let store = open(&path).await.unwrap();
    store.record(vec![reading("attic", 1)], 10, NOW).await.unwrap();
    store.compact().await.unwrap();
    store.close().await.unwrap();
    let before = std::fs::read(&path).unwrap();

    open(&path).await.unwrap().close().await.unwrap();

    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (other, text) = (folder.path().join("other.db"), folder.path().join("text.db"));
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE other (a)").unwrap();
    std::fs::write(
        &text,
        "This text is not a database, although it is longer than 100 bytes, the size of a header of SQLite.",
    )
    .unwrap();

    let error = open(&other).await.unwrap_err();
    assert!(message(&error).contains("database of another program"), "{}", message(&error));
    assert!(matches!(open(&text).await, Err(StoreError::Damaged { .. })));
}

#[tokio::test]
async fn concurrent_opens_of_a_new_file_both_find_the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");

    let (first, second) = tokio::join!(open(&path), open(&path));

    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(!first.has_users().await.unwrap());
    assert!(!second.has_users().await.unwrap());
}

#[tokio::test]
async fn another_process_can_write_to_the_file_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let hub = Arc::new(open(&path).await.unwrap());
    let tool = Arc::new(open(&path).await.unwrap());

    let recording = tokio::spawn({
        let hub = Arc::clone(&hub);
        async move {
            for n in 0..50 {
                hub.record(vec![reading("hub", n)], 10, NOW).await.unwrap();
            }
        }
    });
    for n in 0..50 {
        let contact = (ModuleId::new(format!("tool-{n}")).unwrap(), NOW.wall);
        tool.touch(&[contact], NOW).await.unwrap();
    }
    recording.await.unwrap();

    assert_eq!(count_readings(&hub).await, 50);
    assert_eq!(hub.modules(&PageRequest { limit: 100, cursor: None }).await.unwrap().items.len(), 51);
}

#[tokio::test]
async fn a_second_hub_takes_over_the_database_and_readings_of_the_first_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (first, second) = (open(&path).await.unwrap(), open(&path).await.unwrap());
    first.record(vec![reading("attic", 1)], 10, NOW).await.unwrap();

    second.record(vec![reading("attic", 2)], 10, NOW).await.unwrap();
    let refused = first.record(vec![reading("attic", 3)], 10, NOW).await;

    assert!(
        matches!(&refused, Err(error) if message(error).contains("took the database over")),
        "{refused:?}"
    );
    assert_eq!(count_readings(&second).await, 2);
    drop((first, second));
    assert_eq!(count_readings(&open(&path).await.unwrap()).await, 2);
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_not_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let store = open(&path).await.unwrap();
    let readings: Vec<_> = (0..1000).map(|n| reading("attic", n)).collect();
    store.record(readings, 10, NOW).await.unwrap();
    store.close().await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();

    let result = match open(&path).await {
        Ok(store) => store.record(vec![reading("attic", 1)], 10, NOW).await.map(drop),
        Err(error) => Err(error),
    };

    assert!(matches!(result, Err(StoreError::Damaged { .. })), "{result:?}");
}

#[tokio::test]
async fn a_changed_schema_is_damage_but_an_additional_table_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    open(&path).await.unwrap().close().await.unwrap();
    let change = |sql: &str| {
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "writable_schema", true).unwrap();
        db.execute_batch(sql).unwrap();
    };

    change("CREATE TABLE additional (a)");
    open(&path).await.unwrap().close().await.unwrap();
    change(
        "UPDATE sqlite_schema SET sql = replace(sql, 'last_seen_at_us', 'last_seem_at_us') WHERE name = 'modules'",
    );
    let error = open(&path).await.unwrap_err();

    assert!(
        matches!(error, StoreError::Damaged { .. }) && message(&error).contains("`modules`"),
        "{error:?}"
    );
}
