//! Uploads of frames and readings over HTTP on loopback. A frame is acknowledged when it is in its frame
//! slot, a reading when its commit is on the disk.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::try_join_all;
use iotpi_benches::{Bench, frame, module, readings};

fn frames(criterion: &mut Criterion) {
    let bench = Bench::new().unwrap();
    let module = module().unwrap();
    let mut group = criterion.benchmark_group("ingest/frame");
    for kilobytes in [30_usize, 100, 500] {
        let frame = frame(kilobytes * 1000).unwrap();
        group.throughput(Throughput::Bytes(frame.jpeg().len() as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{kilobytes} KB")), |bencher| {
            bencher
                .to_async(&bench.runtime)
                .iter(|| async { bench.client.publish(&module, &frame).await.unwrap() });
        });
    }
    group.finish();
}

fn single_readings(criterion: &mut Criterion) {
    let bench = Bench::new().unwrap();
    let next = AtomicU64::new(0);
    let mut group = criterion.benchmark_group("ingest/reading");
    group.throughput(Throughput::Elements(1));
    for connections in [1_u64, 32] {
        group.bench_function(BenchmarkId::from_parameter(format!("{connections} connections")), |bencher| {
            bencher.to_async(&bench.runtime).iter_custom(|iterations| {
                let (bench, next) = (&bench, &next);
                async move {
                    let left = AtomicU64::new(iterations);
                    let connection = || async {
                        while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                            let reading = readings(next.fetch_add(1, Relaxed), 1)?;
                            bench.client.record(&reading).await?;
                        }
                        Ok::<_, iotpi_benches::Error>(())
                    };
                    let started = Instant::now();
                    try_join_all((0..connections).map(|_| connection())).await.unwrap();
                    started.elapsed()
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, frames, single_readings);
criterion_main!(benches);
