//! The contract on a file and in memory, and what only this engine promises.

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

mod engine {
    use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

    use iotpi_core::{ModuleId, Quantity, Reading, Sample, Timestamp};
    use proptest::prelude::*;
    use rusqlite::Connection;

    use crate::store::{
        self, Now, PageRequest, ReadingQuery, SeriesKey, Steady, Store, StoreError,
        sqlite::{Sqlite, failure::Fail},
    };

    const NOW: Now = {
        let wall = Timestamp::from_micros(1_795_472_000_000_000);
        Now { wall, steady: Steady(wall) }
    };

    async fn open(path: &Path) -> Result<Sqlite, StoreError> {
        Sqlite::open(&format!("//{}", path.display())).await
    }

    fn reading(of: &str, n: i64) -> Reading {
        let taken_at = Timestamp::from_micros(NOW.wall.as_micros() + n);
        Reading::new(ModuleId::new(of).unwrap(), Sample::new(Quantity::Temperature, n as f64), taken_at)
    }

    async fn recorded(store: &Sqlite) -> usize {
        let query = ReadingQuery {
            sensor: Quantity::Temperature.name(),
            module_id: None,
            since: None,
            until: None,
            ascending: true,
        };
        let mut page = PageRequest { limit: 1000, cursor: None };
        let mut count = 0;
        loop {
            let found = store.readings(&query, &page).await.unwrap();
            count += found.items.len();
            match found.next {
                None => return count,
                cursor => page.cursor = cursor,
            }
        }
    }

    fn sentence(error: &StoreError) -> String {
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    }

    #[test]
    fn the_sqlite_inside_is_3_54_or_newer() {
        assert!(rusqlite::version_number() >= 3_054_000, "{}", rusqlite::version());
    }

    #[tokio::test]
    async fn a_url_of_no_engine_is_refused() {
        for url in
            ["", "sqlite", "sqlite:", "sqlite://", "sqlite:hub.db", "postgres://host/db", "/tmp/hub.db"]
        {
            let answer = store::open(url).await;
            assert!(matches!(&answer, Err(StoreError::BadUrl(said)) if said == url), "{url}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn the_file_and_its_folder_are_made_for_the_owner_alone() {
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
    async fn what_was_acknowledged_is_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let store = open(&path).await.unwrap();
        store.record(vec![reading("attic", 1), reading("attic", 2)], 10, NOW).await.unwrap();
        drop(store);

        let store = open(&path).await.unwrap();
        assert_eq!(recorded(&store).await, 2);
        // Numbering goes on: the newer of two records of one microsecond stays the newer.
        store.record(vec![reading("attic", 2)], 10, NOW).await.unwrap();
        store.close().await.unwrap();

        let store = open(&path).await.unwrap();
        assert_eq!(recorded(&store).await, 3);
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

            let files: Vec<_> =
                folder.path().read_dir().unwrap().map(|file| file.unwrap().file_name()).collect();
            assert_eq!(files, ["hub.db"]);
        }
    }

    #[tokio::test]
    async fn a_copy_of_the_files_as_a_power_cut_leaves_them_has_every_acknowledged_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let store = open(&path).await.unwrap();
        for n in 0..20 {
            store.record(vec![reading("attic", n)], 10, NOW).await.unwrap();
        }

        let copy = folder.path().join("copy.db");
        std::fs::copy(&path, &copy).unwrap();
        std::fs::copy(folder.path().join("hub.db-wal"), folder.path().join("copy.db-wal")).unwrap();

        assert_eq!(recorded(&open(&copy).await.unwrap()).await, 20);
    }

    #[tokio::test]
    async fn the_settings_that_promise_durability_are_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("hub.db")).await.unwrap();
        let pragma = async |name: &'static str| {
            let ask = move |db: &Connection| {
                Ok(db.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))?)
            };
            (store.write("ask", ask).await.unwrap(), store.read("ask", ask).await.unwrap())
        };

        let wal = rusqlite::types::Value::Text("wal".to_owned());
        assert_eq!(pragma("journal_mode").await, (wal.clone(), wal));
        assert_eq!(pragma("synchronous").await.0, 2.into());
        assert_eq!(pragma("foreign_keys").await.0, 1.into());
        assert_eq!(pragma("query_only").await, (0.into(), 1.into()));
        assert_eq!(pragma("user_version").await.0, 1.into());
    }

    #[tokio::test]
    async fn a_reader_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("hub.db")).await.unwrap();

        let answer = store.read("try", |db| Ok(db.execute("DELETE FROM arrivals", [])?)).await;

        assert!(matches!(answer, Err(StoreError::Engine { .. })), "{answer:?}");
    }

    #[tokio::test]
    async fn a_database_of_a_newer_hub_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        open(&path).await.unwrap().close().await.unwrap();
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let before = std::fs::read(&path).unwrap();

        let error = open(&path).await.unwrap_err();

        assert!(sentence(&error).contains("version 99, made by a newer hub"), "{}", sentence(&error));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[tokio::test]
    async fn a_file_of_another_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (other, text) = (folder.path().join("other.db"), folder.path().join("text.db"));
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        std::fs::write(
            &text,
            "not a database at all, but longer than the header of one would have to be, by far",
        )
        .unwrap();

        let error = open(&other).await.unwrap_err();
        assert!(sentence(&error).contains("database of another program"), "{}", sentence(&error));
        assert!(matches!(open(&text).await, Err(StoreError::Engine { .. })));
    }

    #[tokio::test]
    async fn two_that_open_a_new_file_at_once_both_find_the_tables() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");

        let (first, second) = tokio::join!(open(&path), open(&path));

        let (first, second) = (first.unwrap(), second.unwrap());
        first.record(vec![reading("attic", 1)], 10, NOW).await.unwrap();
        assert_eq!(recorded(&second).await, 1);
    }

    #[tokio::test]
    async fn another_process_writes_to_the_same_file_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let hub = Arc::new(open(&path).await.unwrap());
        let tool = Arc::new(open(&path).await.unwrap());

        let write = |store: &Arc<Sqlite>, of: &'static str| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                for n in 0..50 {
                    store.record(vec![reading(of, n)], 10, NOW).await.unwrap();
                }
            })
        };
        let (one, two) = (write(&hub, "hub"), write(&tool, "tool"));
        one.await.unwrap();
        two.await.unwrap();

        assert_eq!(recorded(&hub).await, 100);
        assert_eq!(recorded(&tool).await, 100);
    }

    #[tokio::test]
    async fn writes_that_wait_together_share_a_commit() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(open(&folder.path().join("hub.db")).await.unwrap());

        let tasks: Vec<_> = (0..1000)
            .map(|n| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.record(vec![reading("attic", n)], 10, NOW).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }

        assert_eq!(recorded(&store).await, 1000);
        assert!(store.writer.commits() < 500, "{} commits", store.writer.commits());
    }

    #[tokio::test]
    async fn a_lone_write_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("hub.db")).await.unwrap();

        for n in 0..10 {
            store.record(vec![reading("attic", n)], 10, NOW).await.unwrap();
        }

        assert_eq!(store.writer.commits(), 10);
    }

    #[tokio::test]
    async fn a_refused_write_takes_none_of_its_group_along() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("hub.db")).await.unwrap();
        // The writer is held up, so that what comes now makes one group.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let held = store.write("hold", move |_| Ok(wait.recv().is_ok()));
        let add = |n| store.record(vec![reading("attic", n)], 10, NOW);
        let spoil = store.write("spoil", |db: &Connection| {
            db.execute("INSERT INTO modules (id, registered_at_us) VALUES ('half', 1)", [])?;
            Err::<(), _>(Fail::from(StoreError::NotFound("reason to keep it")))
        });
        let break_off = store.write("break off", |db: &Connection| Ok(db.execute("nonsense", [])?));

        let (held, one, spoiled, two, broken, three, ()) =
            tokio::join!(held, add(1), spoil, add(2), break_off, add(3), async { go.send(()).unwrap() });

        assert!(held.unwrap());
        one.and(two).and(three).unwrap();
        assert!(matches!(spoiled, Err(StoreError::NotFound(_))), "{spoiled:?}");
        assert!(matches!(broken, Err(StoreError::Engine { context: "break off", .. })), "{broken:?}");
        assert_eq!(recorded(&store).await, 3);
        assert_eq!(store.module(&ModuleId::new("half").unwrap()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn nothing_is_acknowledged_before_its_commit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let store = open(&path).await.unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (began, begun) = tokio::sync::oneshot::channel();

        // In one group: a write that is done, and one that holds the group up.
        let hold = store.write("hold", |_| Ok(()));
        let add = store.record(vec![reading("attic", 1)], 10, NOW);
        let block = store.write("block", move |_| {
            let _ = began.send(());
            Ok(wait.recv().is_ok())
        });
        let look = async {
            begun.await.unwrap();
            // Done, but not committed: no other connection may see it.
            let seen = recorded(&store).await;
            go.send(()).unwrap();
            seen
        };
        let (held, added, blocked, seen) = tokio::join!(hold, add, block, look);

        held.unwrap();
        added.unwrap();
        assert!(blocked.unwrap());
        assert!(seen <= 1);
        assert_eq!(recorded(&store).await, 1);
    }

    #[tokio::test]
    async fn a_full_disk_is_said_and_the_engine_lives_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("hub.db")).await.unwrap();
        let limit = async |pages: i64| {
            let set = move |db: &Connection| {
                let size: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
                Ok(db.pragma_update_and_check(None, "max_page_count", size + pages, |_| Ok(()))?)
            };
            store.write("limit", set).await.unwrap();
        };
        limit(1).await;
        let flood: Vec<_> = (0..1000).map(|n| reading("attic", n)).collect();

        let full = store.record(flood.clone(), 10, NOW).await;

        assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
        assert_eq!(recorded(&store).await, 0);
        store.record(vec![reading("attic", 1)], 10, NOW).await.unwrap();
        limit(1000).await;
        store.record(flood, 10, NOW).await.unwrap();
        assert_eq!(recorded(&store).await, 1001);
    }

    #[tokio::test]
    async fn after_a_fatal_failure_nothing_is_acknowledged_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("hub.db")).await.unwrap();
        store.record(vec![reading("attic", 1)], 10, NOW).await.unwrap();
        let broken = |_: &Connection| {
            let said = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
            Err::<(), _>(Fail::from(rusqlite::Error::SqliteFailure(said, None)))
        };

        let (first, second) = tokio::join!(store.write("fail", broken), store.check());

        assert!(matches!(first, Err(StoreError::Engine { .. })), "{first:?}");
        assert!(matches!(second, Err(StoreError::Engine { .. })), "{second:?}");
        let later = store.record(vec![reading("attic", 2)], 10, NOW).await;
        assert!(matches!(later, Err(StoreError::Engine { .. })), "{later:?}");
        assert_eq!(recorded(&store).await, 1, "reads go on");
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_damaged_file_is_a_failure_and_not_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let store = open(&path).await.unwrap();
        let flood: Vec<_> = (0..1000).map(|n| reading("attic", n)).collect();
        store.record(flood, 10, NOW).await.unwrap();
        store.close().await.unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4096..].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();

        let answer = match open(&path).await {
            Ok(store) => store.record(vec![reading("attic", 1)], 10, NOW).await.map(drop),
            Err(error) => Err(error),
        };

        assert!(matches!(answer, Err(StoreError::Engine { .. })), "{answer:?}");
    }

    #[tokio::test]
    async fn cancelled_waiters_leave_a_writer_that_works() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(open(&folder.path().join("hub.db")).await.unwrap());

        let tasks: Vec<_> = (0..100)
            .map(|n| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.record(vec![reading("attic", n)], 10, NOW).await })
            })
            .collect();
        for task in &tasks {
            tokio::task::yield_now().await;
            task.abort();
        }
        for task in tasks {
            let _ = task.await;
        }

        let before = recorded(&store).await;
        store.record(vec![reading("attic", 1000)], 10, NOW).await.unwrap();
        assert!(before <= 100);
        assert!(recorded(&store).await > before);
    }

    #[tokio::test]
    async fn a_query_that_panics_gives_its_connection_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("hub.db")).await.unwrap();

        for _ in 0..2 * super::super::readers::CONNECTIONS {
            let answer =
                store.read("panic", |_| -> super::super::failure::Work<()> { panic!("on purpose") }).await;
            assert!(matches!(answer, Err(StoreError::Engine { .. })), "{answer:?}");
        }

        assert!(!store.has_users().await.unwrap());
    }

    #[tokio::test]
    async fn no_list_walks_through_a_whole_table() {
        let store = Sqlite::open(":memory:").await.unwrap();
        let plans = store
            .write("explain", |db: &Connection| {
                let mut plans = Vec::new();
                for sql in [
                    "SELECT 1 FROM readings WHERE series_id = 1 AND (taken_at_us, arrival) > (1, 1)
                     AND (taken_at_us, arrival) < (2, 2) ORDER BY taken_at_us DESC, arrival DESC LIMIT 1",
                    "SELECT taken_at_us, arrival FROM readings WHERE series_id = 1
                     ORDER BY taken_at_us DESC, arrival DESC LIMIT 1",
                    "SELECT 1 FROM commands WHERE module_id = 'a' AND finished_at_us IS NULL AND state = 'leased'",
                ] {
                    let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                    let lines = explain.query_map([], |row| row.get::<_, String>(3))?;
                    plans.push(lines.collect::<Result<Vec<_>, _>>()?.join("; "));
                }
                Ok(plans)
            })
            .await
            .unwrap();

        for plan in plans {
            assert!(plan.contains("SEARCH") && !plan.contains("SCAN") && !plan.contains("TEMP"), "{plan}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn pages_put_together_are_the_whole_list(
            data in prop::collection::vec((0_usize..4, 0_i64..6), 0..40),
            limit in 1_u32..12,
            ascending: bool,
            width_us in prop::sample::select(vec![1_u64, 2, 4]),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let store = Sqlite::open(":memory:").await.unwrap();
                let taken: Vec<_> = data.iter().map(|(of, n)| reading(["a", "b", "c", "d"][*of], *n)).collect();
                for reading in &taken {
                    store.record(vec![reading.clone()], 10, NOW).await.unwrap();
                }
                let query = ReadingQuery {
                    sensor: Quantity::Temperature.name(), module_id: None, since: None, until: None, ascending,
                };
                let kept = |reading: &Reading| Reading { received_at: Some(NOW.wall), ..reading.clone() };

                // A stable sort by time keeps the order of arrival.
                let mut expected: Vec<_> = taken.iter().map(kept).collect();
                expected.sort_by_key(|reading| reading.taken_at);
                if !ascending {
                    expected.reverse();
                }
                let mut page = PageRequest { limit, cursor: None };
                let mut found = Vec::new();
                loop {
                    let part = store.readings(&query, &page).await.unwrap();
                    found.extend(part.items);
                    match part.next { None => break, cursor => page.cursor = cursor }
                }
                assert_eq!(found, expected);

                let width = Duration::from_micros(width_us);
                let mut stretches = std::collections::BTreeMap::new();
                for reading in &taken {
                    let micros = reading.taken_at.as_micros();
                    let start = micros - micros % i64::try_from(width_us).unwrap();
                    *stretches.entry((start, reading.module_id.clone())).or_insert(0_u64) += 1;
                }
                let mut page = PageRequest { limit, cursor: None };
                let mut found = Vec::new();
                loop {
                    let part = store.buckets(&query, width, &page).await.unwrap();
                    found.extend(part.items);
                    match part.next { None => break, cursor => page.cursor = cursor }
                }
                let found: Vec<_> =
                    found.into_iter().map(|b| ((b.start.as_micros(), b.module_id), b.count.unwrap())).collect();
                assert_eq!(found, stretches.into_iter().collect::<Vec<_>>());

                let series = SeriesKey { module_id: ModuleId::new("a").unwrap(), sensor: query.sensor.clone() };
                let mut expected: Vec<_> =
                    taken.iter().map(kept).filter(|reading| reading.module_id == series.module_id).collect();
                expected.sort_by_key(|reading| reading.taken_at);
                let from = expected.len().saturating_sub(limit as usize);
                assert_eq!(store.recent(&series, limit).await.unwrap(), expected[from..]);
            });
        }
    }
}
