//! What a reading takes of the disk once it is folded, at the rates at which things are measured, everything included: chunks,
//! rollups, indexes, free pages, and the journal's slots beside it. And how long a chart of a year takes at each of them.
//!
//! `IOTPI_BENCH_READINGS` sets how many readings a series has (default: as the table in `docs/figures.md`);
//! `IOTPI_BENCH_YEAR=1` adds the chart of a year at 1 Hz, which takes some minutes to fill.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss)]

use std::{sync::Arc, time::Duration};

use iotpi_benches::folder;
use iotpi_core::{Quantity, Reading, Sample, SeqNo, Timestamp};
use iotpi_hub::store::{self, Now, PageRequest, ReadingQuery, Steady, Store};

const MODULES: u64 = 50;
/// Seconds between two readings of a series, and how many it has: half a day, 5 days, 30 days, a year.
const RATES: [(u64, u64); 4] = [(1, 43_200), (10, 43_200), (60, 43_200), (3_600, 8_760)];
const YEAR_SECS: u64 = 365 * 86_400;
/// The hub looks once a minute; what has waited for half an hour is folded.
const TEND_EVERY: Duration = Duration::from_secs(60);

fn main() {
    let readings = env("IOTPI_BENCH_READINGS");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (interval, usual) in RATES {
            rest(interval, readings.unwrap_or(usual)).await;
        }
        for (interval, _) in RATES {
            if interval > 1 || env("IOTPI_BENCH_YEAR").is_some() {
                chart(interval).await;
            }
        }
    });
}

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn begin() -> Timestamp {
    Timestamp::from_micros(1_795_472_000_000_000)
}

/// The reading number `n` of a room's temperature: a slow wave, a sensor's noise, two digits; taken with the jitter of a timer and
/// received with that of a network.
fn reading(noise: &mut Noise, interval: u64, module: u64, n: u64) -> Reading {
    let offset = module * 1_000_000 * interval / MODULES;
    let taken = n * interval * 1_000_000 + offset + noise.below(900);
    let received = taken + 1_000 + noise.below(4_000);
    let wave = 21.0 + 3.0 * ((n * interval) as f64 / 13_750.0 + module as f64).sin();
    let value = ((wave + noise.below(40) as f64 / 100.0) * 100.0).round() / 100.0;
    Reading {
        received_at: Some(begin().plus(Duration::from_micros(received))),
        number: Some(SeqNo { epoch: 1 + module, seq: n + 1 }),
        ..Reading::new(
            format!("module-{module}").parse().unwrap(),
            Sample::new(Quantity::Temperature, value),
            begin().plus(Duration::from_micros(taken)),
        )
    }
}

fn now(secs: u64) -> Now {
    let at = begin().plus(Duration::from_secs(secs));
    Now { wall: at, steady: Steady(at) }
}

async fn rest(interval: u64, readings: u64) {
    let folder = folder().unwrap();
    let path = folder.path().join("hub.db");
    let store = store::open(&format!("sqlite://{}", path.display())).await.unwrap();
    let empty = store.disk_use().await.unwrap().database_bytes;
    let mut noise = Noise(1);
    let mut tended = 0;
    // A commit has a reading of each module, or as many as come in a minute.
    let together = (60 / interval).max(1);
    for first in (0..readings).step_by(usize::try_from(together).unwrap()) {
        let numbers = first..(first + together).min(readings);
        let batch = numbers.flat_map(|n| (0..MODULES).map(move |module| (module, n)));
        let batch: Vec<_> = batch.map(|(module, n)| reading(&mut noise, interval, module, n)).collect();
        let secs = first * interval;
        store.record(batch, 1000, now(secs)).await.unwrap();
        if secs >= tended + TEND_EVERY.as_secs() {
            store.tend(now(secs)).await.unwrap();
            tended = secs;
        }
    }
    store.settle().await.unwrap();
    let taken = store.disk_use().await.unwrap();
    let tables = tables(&path);
    let all = (taken.database_bytes - empty) as f64;
    let of =
        |name: &str| tables.iter().filter(|(table, _)| table.starts_with(name)).map(|(_, n)| n).sum::<u64>();
    let each = |bytes: f64| bytes / (readings * MODULES) as f64;
    println!(
        "one every {interval} s, {readings} readings of {MODULES} series: {:.2} bytes a reading \
         (chunks {:.2}, rollups {:.2}, free pages {:.2}, the WAL {:.2})",
        each(all),
        each(of("chunks") as f64),
        each(of("rollup") as f64 + of("sqlite_autoindex_rollups") as f64),
        each(taken.reusable_bytes as f64),
        each(of("wal") as f64),
    );
    store.close().await.unwrap();
}

/// What each table and index takes: whole pages.
fn tables(path: &std::path::Path) -> Vec<(String, u64)> {
    let db = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut tables = db.prepare("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").unwrap();
    tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}

/// A chart of a year, by the quarter day: as the dashboard asks for it, in pages of 1,000.
async fn chart(interval: u64) {
    let folder = folder().unwrap();
    let path = folder.path().join("hub.db");
    let store = store::open(&format!("sqlite://{}", path.display())).await.unwrap();
    let mut noise = Noise(1);
    let readings = YEAR_SECS / interval;
    for first in (0..readings).step_by(10_000) {
        let batch = first..(first + 10_000).min(readings);
        let batch = batch.map(|n| reading(&mut noise, interval, 0, n)).collect();
        store.record(batch, 1000, now(first * interval)).await.unwrap();
    }
    store.settle().await.unwrap();

    let mut took = Vec::new();
    for _ in 0..200 {
        let began = std::time::Instant::now();
        let points = points(&store).await;
        took.push(began.elapsed());
        assert!((1_460..=1_462).contains(&points), "{points}");
    }
    took.sort();
    let ms = |at: usize| took[at].as_secs_f64() * 1e3;
    println!("a chart of a year, one every {interval} s: p50 {:.2} ms, p99 {:.2} ms", ms(100), ms(197));
    store.close().await.unwrap();
}

async fn points(store: &Arc<dyn Store>) -> usize {
    let query = ReadingQuery {
        sensor: Quantity::Temperature.name(),
        module_id: None,
        since: Some(begin()),
        until: None,
        not_after: None,
        ascending: true,
    };
    let mut page = PageRequest { limit: 1000, cursor: None };
    let mut points = 0;
    loop {
        let found = store.buckets(&query, Duration::from_secs(6 * 3_600), &page).await.unwrap();
        points += found.items.len();
        match found.next {
            Some(next) => page.cursor = Some(next),
            None => return points,
        }
    }
}

/// A small generator of numbers that are the same each time.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
