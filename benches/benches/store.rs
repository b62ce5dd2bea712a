//! The store without HTTP: commits on the disk, and the queries of a dashboard.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use iotpi_benches::{folder, module, readings};
use iotpi_core::{Quantity, Timestamp};
use iotpi_hub::store::{self, Now, PageRequest, ReadingQuery, SeriesKey, Steady};

const A_DAY: u64 = 86_400;

fn now() -> Now {
    Now { wall: Timestamp::MIN, steady: Steady(Timestamp::MIN) }
}

fn sqlite(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = folder().unwrap();
    let url = format!("sqlite://{}", folder.path().join("hub.db").display());
    let store = runtime.block_on(store::open(&url)).unwrap();

    // A day of one series with one reading per second.
    runtime.block_on(async {
        for first in (0..A_DAY).step_by(1000) {
            store.record(readings(first, 1000).unwrap(), 10, now()).await.unwrap();
        }
    });
    let series =
        SeriesKey { module_id: module().unwrap(), sensor: Quantity::Temperature.name(), channel: None };
    let all = ReadingQuery {
        sensor: series.sensor.clone(),
        module_id: Some(series.module_id.clone()),
        channel: None,
        since: None,
        until: None,
        not_after: None,
        ascending: false,
    };
    let page = PageRequest { limit: 1000, cursor: None };

    let mut group = criterion.benchmark_group("store/read");
    group.bench_function("newest of every series", |bencher| {
        bencher.to_async(&runtime).iter(|| async { store.newest(None, None, &page).await.unwrap() });
    });
    group.bench_function("recent 1000", |bencher| {
        bencher.to_async(&runtime).iter(|| async { store.recent(&series, 1000, None).await.unwrap() });
    });
    group.bench_function("page of 1000", |bencher| {
        bencher.to_async(&runtime).iter(|| async { store.readings(&all, &page).await.unwrap() });
    });
    group.sample_size(20);
    group.bench_function("a day in hours", |bencher| {
        let hour = Duration::from_secs(3600);
        bencher.to_async(&runtime).iter(|| async { store.buckets(&all, hour, &page).await.unwrap() });
    });
    group.finish();

    let mut group = criterion.benchmark_group("store/record");
    let mut next = A_DAY + 1000;
    for count in [1_u64, 100, 1000] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || {
                    next += count;
                    readings(next, count).unwrap()
                },
                |batch| async { store.record(batch, 10, now()).await.unwrap() },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    runtime.block_on(store.close()).unwrap();
}

criterion_group!(benches, sqlite);
criterion_main!(benches);
