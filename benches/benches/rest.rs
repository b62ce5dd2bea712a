//! The disk space of a reading after compaction, at common sampling rates. It includes chunks, rollups,
//! indexes, free pages and the WAL. Also the time to query a chart of a year at each rate.
//!
//! `IOTPI_BENCH_READINGS` sets the number of readings of a series (the default is that of the table in
//! `docs/figures.md`). `IOTPI_BENCH_YEAR=1` adds the chart of a year at 1 Hz, whose database takes some
//! minutes.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss)]

use std::{sync::Arc, time::Duration};

use iotpi_benches::{Random, folder};
use iotpi_core::{Quantity, Reading, Sample, Timestamp, model::reading::SeqNo};
use iotpi_hub::store::{self, Now, PageRequest, ReadingQuery, Steady, Store};

const MODULES: u64 = 50;
/// Seconds between two readings of a series, and their number: half a day, 5 days, 30 days, a year.
const RATES: [(u64, u64); 4] = [(1, 43_200), (10, 43_200), (60, 43_200), (3_600, 8_760)];
const YEAR_SECS: u64 = 365 * 86_400;
/// The interval of the maintenance, which compacts readings after half an hour.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(60);

fn main() {
    let readings = env("IOTPI_BENCH_READINGS");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (interval, usual) in RATES {
            disk_use(interval, readings.unwrap_or(usual)).await;
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

/// The `n`-th temperature of a room: a slow wave, the noise of a sensor, two digits. It is taken with the
/// jitter of a timer and received with the jitter of a network.
fn reading(random: &mut Random, interval: u64, module: u64, n: u64) -> Reading {
    let offset = module * 1_000_000 * interval / MODULES;
    let taken = n * interval * 1_000_000 + offset + random.below(900);
    let received = taken + 1_000 + random.below(4_000);
    let wave = 21.0 + 3.0 * ((n * interval) as f64 / 13_750.0 + module as f64).sin();
    let value = ((wave + random.below(40) as f64 / 100.0) * 100.0).round() / 100.0;
    let reading = Reading::new(
        format!("module-{module}").parse().unwrap(),
        Sample::new(Quantity::Temperature, value),
        begin().plus(Duration::from_micros(taken)),
    );
    reading
        .with_received_at(begin().plus(Duration::from_micros(received)))
        .with_number(SeqNo { epoch: 1 + module, seq: n + 1 })
}

fn now(secs: u64) -> Now {
    let at = begin().plus(Duration::from_secs(secs));
    Now { wall: at, steady: Steady(at) }
}

async fn disk_use(interval: u64, readings: u64) {
    let folder = folder().unwrap();
    let path = folder.path().join("hub.db");
    let store = store::open(&format!("sqlite://{}", path.display())).await.unwrap();
    let empty = store.disk_use().await.unwrap().database_bytes;
    let mut random = Random(1);
    let mut maintained_at = 0;
    // A commit has one reading of each module, or the readings of a minute.
    let per_commit = (60 / interval).max(1);
    for first in (0..readings).step_by(usize::try_from(per_commit).unwrap()) {
        let numbers = first..(first + per_commit).min(readings);
        let batch = numbers.flat_map(|n| (0..MODULES).map(move |module| (module, n)));
        let batch: Vec<_> = batch.map(|(module, n)| reading(&mut random, interval, module, n)).collect();
        let secs = first * interval;
        store.record(batch, 1000, now(secs)).await.unwrap();
        if secs >= maintained_at + MAINTENANCE_INTERVAL.as_secs() {
            store.maintain(now(secs)).await.unwrap();
            maintained_at = secs;
        }
    }
    store.compact().await.unwrap();
    let disk_use = store.disk_use().await.unwrap();
    let tables = tables(&path);
    let all = (disk_use.database_bytes - empty) as f64;
    let of =
        |name: &str| tables.iter().filter(|(table, _)| table.starts_with(name)).map(|(_, n)| n).sum::<u64>();
    let each = |bytes: f64| bytes / (readings * MODULES) as f64;
    println!(
        "one every {interval} s, {readings} readings of {MODULES} series: {:.2} bytes a reading \
         (chunks {:.2}, rollups {:.2}, free pages {:.2}, the WAL {:.2})",
        each(all),
        each(of("chunks") as f64),
        each(of("rollup") as f64 + of("sqlite_autoindex_rollups") as f64),
        each(disk_use.reusable_bytes as f64),
        each(of("wal") as f64),
    );
    store.close().await.unwrap();
}

/// The bytes of each table and index, in whole pages.
fn tables(path: &std::path::Path) -> Vec<(String, u64)> {
    let db = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut tables = db.prepare("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").unwrap();
    tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}

/// A chart of a year in buckets of six hours, queried in pages of 1,000 as the dashboard does.
async fn chart(interval: u64) {
    let folder = folder().unwrap();
    let path = folder.path().join("hub.db");
    let store = store::open(&format!("sqlite://{}", path.display())).await.unwrap();
    let mut random = Random(1);
    let readings = YEAR_SECS / interval;
    for first in (0..readings).step_by(10_000) {
        let batch = first..(first + 10_000).min(readings);
        let batch = batch.map(|n| reading(&mut random, interval, 0, n)).collect();
        store.record(batch, 1000, now(first * interval)).await.unwrap();
    }
    store.compact().await.unwrap();

    let mut times = Vec::new();
    for _ in 0..200 {
        let started = std::time::Instant::now();
        let points = points(&store).await;
        times.push(started.elapsed());
        assert!((1_460..=1_462).contains(&points), "{points}");
    }
    times.sort();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    println!("a chart of a year, one every {interval} s: p50 {:.2} ms, p99 {:.2} ms", ms(100), ms(197));
    store.close().await.unwrap();
}

async fn points(store: &Arc<dyn Store>) -> usize {
    let query = ReadingQuery {
        sensor: Quantity::Temperature.name(),
        module_id: None,
        channel: None,
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
