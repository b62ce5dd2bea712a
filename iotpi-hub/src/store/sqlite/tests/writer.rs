//! The writer: groups, acknowledgements, failures.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use iotpi_core::ModuleId;
use tokio::sync::oneshot;

use super::{NOW, open, reading, recorded};
use crate::store::{
    MaintainStore as _, ReadModules as _, StoreError, StoreOptions, StoreStatus as _, WriteModules as _,
    WriteReadings as _,
    sqlite::{Sqlite, failure::EngineError, writer::WriteContext},
};

#[tokio::test]
async fn waiting_writes_share_a_commit() {
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
async fn a_single_write_does_not_wait_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();

    for n in 0..10 {
        store.record(vec![reading("attic", n)], 10, NOW).await.unwrap();
    }

    assert_eq!(store.writer.commits(), 10);
}

#[tokio::test]
async fn a_refused_write_does_not_affect_the_others_of_its_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();
    // The writer is held up, so that what comes now makes one group.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let held = store.write("hold", move |_| Ok(wait.recv().is_ok()));
    let add = |n| store.record(vec![reading("attic", n)], 10, NOW);
    let spoil = store.write("spoil", |db: &mut WriteContext<'_>| {
        db.execute("INSERT INTO modules (id, registered_at_us) VALUES ('half', 1)", [])?;
        Err::<(), _>(EngineError::from(StoreError::NotFound("reason to keep it")))
    });
    let break_off = store.write("break off", |db: &mut WriteContext<'_>| Ok(db.execute("nonsense", [])?));

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
async fn no_write_is_acknowledged_before_its_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();
    let hold = || {
        let ((began, begun), (go, wait)) = (oneshot::channel(), std::sync::mpsc::channel::<()>());
        let hold = store.write("hold", move |_| {
            let _ = began.send(());
            Ok(wait.recv().is_ok())
        });
        (Box::pin(hold), begun, go)
    };
    // While the first group is held up, the second gathers: a record, and behind it what holds that group up.
    let (mut first, first_begun, let_first_go) = hold();
    assert!(poll_once(&mut first).await.is_pending());
    first_begun.await.unwrap();
    let mut record = store.record(vec![reading("attic", 1)], 10, NOW);
    assert!(poll_once(&mut record).await.is_pending());
    let (mut second, second_begun, let_second_go) = hold();
    assert!(poll_once(&mut second).await.is_pending());

    let_first_go.send(()).unwrap();
    first.await.unwrap();
    second_begun.await.unwrap();

    // Written, not committed: nobody was told, and no other connection sees it.
    assert!(poll_once(&mut record).await.is_pending());
    assert_eq!(recorded(&store).await, 0);
    let_second_go.send(()).unwrap();
    record.await.unwrap();
    second.await.unwrap();
    assert_eq!(recorded(&store).await, 1);
}

/// Lets a future begin, or look whether it is done.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_later_writes_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();
    let limit = async |pages: i64| {
        let set = move |db: &mut WriteContext<'_>| {
            let size: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
            Ok(db.pragma_update_and_check(None, "max_page_count", size + pages, |_| Ok(()))?)
        };
        store.write("limit", set).await.unwrap();
    };
    limit(8).await;
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
async fn no_write_is_acknowledged_after_a_fatal_failure() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();
    store.record(vec![reading("attic", 1)], 10, NOW).await.unwrap();
    let broken = |_: &mut WriteContext<'_>| {
        let said = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        Err::<(), _>(EngineError::from(rusqlite::Error::SqliteFailure(said, None)))
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
async fn cancelled_writes_do_not_stop_the_writer() {
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
async fn readings_in_a_commit_window_are_committed_with_any_other_write() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("//{}", folder.path().join("hub.db").display());
    // Longer than any test: whoever waits for its end is found by the runner's limit.
    let commit_window = std::time::Duration::from_secs(3600);
    let store =
        Sqlite::open(&place, StoreOptions { commit_window, ..StoreOptions::default() }).await.unwrap();
    let mut readings: Vec<_> =
        (0..5).map(|n| Box::pin(store.record(vec![reading("attic", n)], 10, NOW))).collect();
    for reading in &mut readings {
        assert!(poll_once(reading).await.is_pending());
    }

    store.touch(&[(ModuleId::new("lamp").unwrap(), NOW.wall)], NOW).await.unwrap();

    for reading in readings {
        reading.await.unwrap();
    }
    assert_eq!((store.writer.commits(), recorded(&store).await), (1, 5));
}

#[tokio::test]
async fn a_module_that_records_in_the_commit_of_its_removal_starts_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let store = open(&path).await.unwrap();
    let attic = ModuleId::new("attic").unwrap();
    store.record(vec![reading("attic", 1)], 10, NOW).await.unwrap();
    // The writer is held up, so that what comes now makes one group.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let held = store.write("hold", move |_| Ok(wait.recv().is_ok()));
    let record = |n| store.record(vec![reading("attic", n)], 10, NOW);

    let (held, before, removed, after, ()) =
        tokio::join!(held, record(2), store.remove_module(&attic), record(3), async { go.send(()).unwrap() });

    assert!(held.unwrap());
    before.and(after).unwrap();
    removed.unwrap();
    assert_eq!(recorded(&store).await, 1);
    record(4).await.unwrap();
    store.settle().await.unwrap();
    assert_eq!(recorded(&store).await, 2);
    drop(store);
    assert_eq!(recorded(&open(&path).await.unwrap()).await, 2);
}
