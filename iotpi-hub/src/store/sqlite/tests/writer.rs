//! The writer thread: grouped commits, acknowledgements and failures.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, mpsc},
    task::Poll,
    time::Duration,
};

use iotpi_core::ModuleId;
use tokio::sync::oneshot;

use super::{NOW, count_readings, open, reading};
use crate::store::{
    MaintainStore as _, ReadModules as _, StoreError, StoreOptions, StoreStatus as _, WriteModules as _,
    WriteReadings as _,
    contract::bounded,
    sqlite::{Sqlite, failure::EngineError, writer::WriteContext},
};

/// A write that blocks the writer thread until the sender sends: the writes that are enqueued meanwhile make
/// one group.
fn hold(store: &Sqlite) -> (impl Future<Output = Result<bool, StoreError>>, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel();
    (store.write("hold", move |_| Ok(released.recv().is_ok())), release)
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}

#[tokio::test]
async fn waiting_writes_share_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();
    let (held, release) = hold(&store);
    let mut held = Box::pin(held);
    assert!(poll_once(&mut held).await.is_pending());
    let record = |n| Box::pin(tokio::task::unconstrained(store.record(vec![reading("attic", n)], 10, NOW)));
    let mut writes: Vec<_> = (0..1000).map(record).collect();
    for write in &mut writes {
        assert!(poll_once(write).await.is_pending());
    }

    release.send(()).unwrap();

    for write in writes {
        write.await.unwrap();
    }
    assert!(held.await.unwrap());
    assert_eq!(count_readings(&store).await, 1000);
    // At most 256 writes share a commit, and the first group may be smaller.
    assert!(store.writer.commits() <= 5, "{} commits", store.writer.commits());
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
    let (held, release) = hold(&store);
    let add = |n| store.record(vec![reading("attic", n)], 10, NOW);
    let refuse = store.write("refuse", |db: &mut WriteContext<'_>| {
        db.execute("INSERT INTO modules (id, registered_at_us) VALUES ('refused', 1)", [])?;
        Err::<(), _>(EngineError::from(StoreError::NotFound("row")))
    });
    let fail = store.write("fail", |db: &mut WriteContext<'_>| Ok(db.execute("nonsense", [])?));

    let (held, one, refused, two, failed, three, ()) =
        tokio::join!(held, add(1), refuse, add(2), fail, add(3), async { release.send(()).unwrap() });

    assert!(held.unwrap());
    one.and(two).and(three).unwrap();
    assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    assert!(matches!(failed, Err(StoreError::Engine { context: "fail", .. })), "{failed:?}");
    assert_eq!(count_readings(&store).await, 3);
    assert_eq!(store.module(&ModuleId::new("refused").unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn no_write_is_acknowledged_before_its_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();
    let hold = || {
        let ((entered, has_entered), (release, released)) = (oneshot::channel(), mpsc::channel::<()>());
        let hold = store.write("hold", move |_| {
            let _ = entered.send(());
            Ok(released.recv().is_ok())
        });
        (Box::pin(hold), has_entered, release)
    };
    // While the first group is held, the second one gathers: a reading, and a write that holds the second
    // group.
    let (mut first, first_has_entered, release_first) = hold();
    assert!(poll_once(&mut first).await.is_pending());
    bounded(first_has_entered).await.unwrap();
    let mut record = store.record(vec![reading("attic", 1)], 10, NOW);
    assert!(poll_once(&mut record).await.is_pending());
    let (mut second, second_has_entered, release_second) = hold();
    assert!(poll_once(&mut second).await.is_pending());

    release_first.send(()).unwrap();
    first.await.unwrap();
    bounded(second_has_entered).await.unwrap();

    // The reading is written and not committed: it is not acknowledged, and no other connection can read it.
    assert!(poll_once(&mut record).await.is_pending());
    assert_eq!(count_readings(&store).await, 0);
    release_second.send(()).unwrap();
    record.await.unwrap();
    second.await.unwrap();
    assert_eq!(count_readings(&store).await, 1);
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
    let readings: Vec<_> = (0..1000).map(|n| reading("attic", n)).collect();

    let full = store.record(readings.clone(), 10, NOW).await;

    assert!(matches!(full, Err(StoreError::Full(_))), "{full:?}");
    assert_eq!(count_readings(&store).await, 0);
    store.record(vec![reading("attic", 1)], 10, NOW).await.unwrap();
    limit(1000).await;
    store.record(readings, 10, NOW).await.unwrap();
    assert_eq!(count_readings(&store).await, 1001);
}

#[tokio::test]
async fn no_write_is_acknowledged_after_a_fatal_failure() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();
    store.record(vec![reading("attic", 1)], 10, NOW).await.unwrap();
    let broken = |_: &mut WriteContext<'_>| {
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        Err::<(), _>(EngineError::from(rusqlite::Error::SqliteFailure(error, None)))
    };

    let (first, second) = tokio::join!(store.write("fail", broken), store.check());

    assert!(matches!(first, Err(StoreError::Engine { .. })), "{first:?}");
    assert!(matches!(second, Err(StoreError::Engine { .. })), "{second:?}");
    let later = store.record(vec![reading("attic", 2)], 10, NOW).await;
    assert!(matches!(later, Err(StoreError::Engine { .. })), "{later:?}");
    assert_eq!(count_readings(&store).await, 1, "reads are still answered");
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

    let before = count_readings(&store).await;
    store.record(vec![reading("attic", 1000)], 10, NOW).await.unwrap();
    assert!(before <= 100);
    assert!(count_readings(&store).await > before);
}

#[tokio::test]
async fn readings_in_a_commit_window_are_committed_with_any_other_write() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("//{}", folder.path().join("hub.db").display());
    // Longer than the limit of `bounded`: no write can wait for its end.
    let commit_window = Duration::from_secs(3600);
    let store =
        Sqlite::open(&location, StoreOptions { commit_window, ..StoreOptions::default() }).await.unwrap();
    let mut readings: Vec<_> =
        (0..5).map(|n| Box::pin(store.record(vec![reading("attic", n)], 10, NOW))).collect();
    for reading in &mut readings {
        assert!(poll_once(reading).await.is_pending());
    }

    bounded(store.touch(&[(ModuleId::new("lamp").unwrap(), NOW.wall)], NOW)).await.unwrap();

    for reading in readings {
        bounded(reading).await.unwrap();
    }
    assert_eq!((store.writer.commits(), count_readings(&store).await), (1, 5));
}

#[tokio::test]
async fn a_module_that_records_in_the_commit_of_its_removal_starts_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let store = open(&path).await.unwrap();
    let attic = ModuleId::new("attic").unwrap();
    store.record(vec![reading("attic", 1)], 10, NOW).await.unwrap();
    let (held, release) = hold(&store);
    let record = |n| store.record(vec![reading("attic", n)], 10, NOW);

    let (held, before, removed, after, ()) =
        tokio::join!(held, record(2), store.remove_module(&attic), record(3), async {
            release.send(()).unwrap()
        });

    assert!(held.unwrap());
    before.and(after).unwrap();
    removed.unwrap();
    assert_eq!(count_readings(&store).await, 1);
    record(4).await.unwrap();
    store.compact().await.unwrap();
    assert_eq!(count_readings(&store).await, 2);
    drop(store);
    assert_eq!(count_readings(&open(&path).await.unwrap()).await, 2);
}
