//! One camera and many viewers: the time from sending a frame until the last viewer has received all of it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::{join_all, try_join_all};
use iotpi_benches::{Bench, frame, module};

const FRAME_BYTES: usize = 100_000;

fn viewers(criterion: &mut Criterion) {
    let bench = Bench::new().unwrap();
    let module = module().unwrap();
    let frame = frame(FRAME_BYTES).unwrap();
    let mut group = criterion.benchmark_group("fanout");
    group.sample_size(20);
    for count in [1_usize, 10, 100] {
        // The camera must exist before it can be viewed.
        bench.runtime.block_on(bench.client.publish(&module, &frame)).unwrap();
        let mut streams = bench.runtime.block_on(async {
            let mut streams =
                try_join_all((0..count).map(|_| bench.client.frames(Some(&module)))).await.unwrap();
            // A new viewer receives the newest frame first.
            join_all(streams.iter_mut().map(|stream| stream.next())).await;
            streams
        });
        group.throughput(Throughput::Bytes((FRAME_BYTES * count) as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{count} viewers")), |bencher| {
            bencher.iter_custom(|iterations| {
                bench.runtime.block_on(async {
                    let started = Instant::now();
                    for _ in 0..iterations {
                        let (published, received) = futures_util::future::join(
                            bench.client.publish(&module, &frame),
                            join_all(streams.iter_mut().map(|stream| stream.next())),
                        )
                        .await;
                        published.unwrap();
                        assert!(received.into_iter().all(|jpeg| jpeg.unwrap().is_some()));
                    }
                    started.elapsed()
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, viewers);
criterion_main!(benches);
