//! Serializing and parsing the types of the protocol.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iotpi_benches::{frame, readings};
use iotpi_core::{
    Frame, Reading, Timestamp,
    model::{
        event::{Event, LiveMessage, NumberedEvent},
        reading::NewReadings,
    },
};

fn json(criterion: &mut Criterion) {
    let thousand = readings(0, 1000).unwrap();
    let text = serde_json::to_string(&thousand).unwrap();
    let mut group = criterion.benchmark_group("wire/1000 readings");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("serialize", |bencher| bencher.iter(|| serde_json::to_vec(&thousand).unwrap()));
    group.bench_function("parse as sent", |bencher| {
        bencher.iter(|| serde_json::from_str::<NewReadings>(&text).unwrap());
    });
    group.bench_function("parse as stored", |bencher| {
        bencher.iter(|| serde_json::from_str::<Vec<Reading>>(&text).unwrap());
    });
    group.finish();

    let reading = thousand[0].clone();
    let event = LiveMessage::Event(NumberedEvent::new(42, Event::Reading { reading }));
    criterion.bench_function("wire/live event/serialize", |bencher| {
        bencher.iter(|| serde_json::to_string(&event).unwrap());
    });
}

fn jpeg(criterion: &mut Criterion) {
    let jpeg = frame(100_000).unwrap().jpeg().clone();
    criterion.bench_function("wire/jpeg of 100 KB/parse", |bencher| {
        bencher.iter(|| Frame::from_jpeg(jpeg.clone(), Timestamp::MIN).unwrap());
    });
}

criterion_group!(benches, json, jpeg);
criterion_main!(benches);
