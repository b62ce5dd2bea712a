//! Concurrent writes, cancelled writes, and closing.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use iotpi_core::{Quantity, Reading, Sample, Timestamp};

use super::{MAX_SERIES, after, module, page, start};
use crate::store::{SeriesKey, Store, StoreError};

fn reading(n: u32) -> Reading {
    let taken_at = Timestamp::from_micros(start().as_micros() + i64::from(n / 2));
    Reading::new(module("attic"), Sample::new(Quantity::Temperature, f64::from(n)), taken_at)
}

async fn stored_values(store: &Arc<dyn Store>) -> Vec<f64> {
    let series =
        SeriesKey { module_id: module("attic"), sensor: Quantity::Temperature.name(), channel: None };
    let recent = store.recent(&series, 10_000, None).await.unwrap();
    recent.iter().filter_map(|reading| reading.outcome.value()).collect()
}

pub async fn concurrent_writes_are_all_stored(store: Arc<dyn Store>) {
    let mut tasks = Vec::new();
    for n in 0..200 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move { store.record(vec![reading(n)], MAX_SERIES, after(0)).await }));
    }
    let mut new_modules = 0;
    for task in tasks {
        new_modules += task.await.unwrap().unwrap().new_modules.len();
    }

    let mut stored = stored_values(&store).await;
    stored.sort_by(f64::total_cmp);
    assert_eq!(stored, (0..200).map(f64::from).collect::<Vec<_>>());
    assert_eq!(new_modules, 1);
}

pub async fn a_cancelled_write_happens_completely_or_not_at_all(store: Arc<dyn Store>) {
    for n in 0..50 {
        let batch = vec![reading(2 * n), reading(2 * n + 1)];
        let mut write = pin!(store.record(batch, MAX_SERIES, after(0)));
        // The write is started, and its future is dropped before it completes.
        let _ = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    store.check().await.unwrap();

    let stored = stored_values(&store).await;
    for pair in stored.chunks(2) {
        assert_eq!(pair.len(), 2, "an incomplete batch: {stored:?}");
        assert_eq!((pair[0] % 2.0, pair[1]), (0.0, pair[0] + 1.0), "an incomplete batch: {stored:?}");
    }
}

pub async fn closing_completes_writes_in_progress(store: Arc<dyn Store>) {
    let mut pending = Vec::new();
    for n in 0..20 {
        let mut write = Box::pin(store.record(vec![reading(n)], MAX_SERIES, after(0)));
        match write.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            // A fast engine has completed the write already.
            Poll::Ready(result) => assert!(result.is_ok(), "{result:?}"),
            Poll::Pending => pending.push(write),
        }
    }

    store.close().await.unwrap();

    for write in pending {
        write.await.unwrap();
    }
}

pub async fn a_closed_store_returns_closed(store: Arc<dyn Store>) {
    store.record(vec![reading(0)], MAX_SERIES, after(0)).await.unwrap();
    store.check().await.unwrap();

    store.close().await.unwrap();

    assert!(matches!(store.record(vec![reading(1)], MAX_SERIES, after(0)).await, Err(StoreError::Closed)));
    assert!(matches!(store.modules(&page(1)).await, Err(StoreError::Closed)));
    assert!(matches!(store.check().await, Err(StoreError::Closed)));
    assert!(matches!(store.close().await, Err(StoreError::Closed)));
}
