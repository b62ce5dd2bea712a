//! Chunks and rollups: their size on disk, and buckets that are correct in every form in which readings are
//! stored.

use std::{collections::BTreeMap, time::Duration};

use iotpi_core::{ModuleId, Outcome, Quantity, Reading, Sample, Timestamp};
use proptest::prelude::*;
use rusqlite::Connection;

use super::{NOW, all_items, open, temperatures};
use crate::store::{
    ExpiryPlan, MaintainStore as _, ReadReadings as _, StoreOptions, StoreStatus as _, WriteReadings as _,
    sqlite::Sqlite,
};

const SECOND: i64 = 1_000_000;

/// Reading `n` of the temperature of a room, measured every `interval` seconds with the jitter of a timer.
fn reading(interval: i64, n: i64) -> Reading {
    let noise = noise(n);
    let wave = (n as f64 / 700.0).sin() * 300.0;
    let value = (2_100.0 + wave + noise.rem_euclid(40) as f64).round() / 100.0;
    let taken_us = NOW.wall.as_micros() + n * interval * SECOND + noise.rem_euclid(900);
    let received_at = Timestamp::from_micros(taken_us + 1_000 + noise.rem_euclid(4_000));
    let sample = Sample::new(Quantity::Temperature, value);
    let id = ModuleId::new("attic").unwrap();
    Reading::new(id, sample, Timestamp::from_micros(taken_us)).with_received_at(received_at)
}

/// A pseudo-random number (the finalizer of SplitMix64).
fn noise(n: i64) -> i64 {
    let n = n.cast_unsigned().wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((n ^ (n >> 31)) >> 1).cast_signed()
}

/// Opens a store that compacts whenever the WAL has a thousand readings.
async fn open_compacting(location: &str) -> Sqlite {
    Sqlite::open(location, StoreOptions { compact_at: Some(1000), ..StoreOptions::default() }).await.unwrap()
}

async fn record(store: &Sqlite, readings: impl IntoIterator<Item = Reading>) {
    let readings: Vec<_> = readings.into_iter().collect();
    for batch in readings.chunks(500) {
        store.record(batch.to_vec(), 10, NOW).await.unwrap();
    }
    store.compact().await.unwrap();
}

/// The size of the database without free pages.
async fn used_bytes(store: &Sqlite) -> u64 {
    let used = store.disk_use().await.unwrap();
    used.database_bytes - used.reusable_bytes
}

async fn rows(store: &Sqlite, table: &'static str) -> u64 {
    let count = move |db: &Connection| {
        Ok(db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?)
    };
    store.read("count the rows", count).await.unwrap()
}

#[tokio::test]
async fn a_compacted_reading_uses_at_most_5_bytes_at_any_rate() {
    for interval in [1, 2, 10, 60, 100, 600, 3_600] {
        let store = open_compacting(":memory:").await;
        let empty = used_bytes(&store).await;

        record(&store, (0..20_000).map(|n| reading(interval, n))).await;

        let bytes = (used_bytes(&store).await - empty) as f64 / 20_000.0;
        println!("one every {interval} s: {bytes:.2} bytes a reading");
        assert!(bytes <= 5.0, "{bytes} bytes a reading, one every {interval} s");
        assert!(bytes >= 1.5, "{bytes} bytes a reading: these values compress too well to be realistic");
    }
}

#[tokio::test]
async fn eviction_frees_space_at_any_rate() {
    for interval in [1, 10, 60, 3_600] {
        let store = open_compacting(":memory:").await;
        record(&store, (0..20_000).map(|n| reading(interval, n))).await;
        let chunks = async || {
            let sum = |db: &Connection| {
                Ok(db.query_row("SELECT sum(length(body)) FROM chunks", [], |row| row.get::<_, u64>(0))?)
            };
            store.read("measure the chunks", sum).await.unwrap()
        };
        let (before, total) = (store.disk_use().await.unwrap(), chunks().await);

        let eviction =
            crate::store::Eviction { before: reading(interval, 20_000).taken_at, spared_bytes: 0, most: 1 };
        let mut calls = 0;
        while store.evict(eviction, NOW).await.unwrap() > 0 {
            calls += 1;
            assert!(calls < 10_000, "eviction ends");
        }

        let (after, remaining) = (store.disk_use().await.unwrap(), chunks().await);
        assert_eq!(after.database_bytes, before.database_bytes, "every {interval} s");
        let (freed, deleted) = (after.reusable_bytes - before.reusable_bytes, total - remaining);
        assert!(
            deleted > total / 2 && freed * 5 > deleted * 2,
            "{freed} of {deleted} bytes freed, every {interval} s"
        );
    }
}

#[tokio::test]
async fn a_daily_burst_creates_no_rollups_for_sparse_readings() {
    let store = open_compacting(":memory:").await;
    // Each day begins with 1,500 readings in 25 minutes; the rest of the day has one a minute.
    let day = |day: i64| {
        let burst = (0..1_500).map(move |n| day * 86_400 + n);
        let rest = (25..1_440).map(move |n| day * 86_400 + n * 60);
        burst.chain(rest).map(|at| reading(1, at))
    };

    record(&store, (0..10).flat_map(day)).await;

    let readings = 10 * (1_500 + 1_415);
    let rollups = rows(&store, "rollups").await;
    assert!(rollups < readings / 20, "{rollups} rollups of {readings} readings");
}

/// The expected buckets by start: the number of values, of readings without a value, the sum, minimum and
/// maximum.
type Model = BTreeMap<i64, (u64, u64, f64, f64, f64)>;

fn model<'a>(readings: impl IntoIterator<Item = &'a Reading>, width: i64) -> Model {
    let mut model = Model::new();
    for reading in readings {
        let taken_us = reading.taken_at.as_micros();
        let start = taken_us - taken_us.rem_euclid(width * SECOND);
        let bucket = model.entry(start).or_insert((0, 0, 0.0, f64::INFINITY, f64::NEG_INFINITY));
        match reading.outcome.value() {
            Some(value) => {
                *bucket =
                    (bucket.0 + 1, bucket.1, bucket.2 + value, bucket.3.min(value), bucket.4.max(value));
            }
            None => bucket.1 += 1,
        }
    }
    model
}

async fn assert_buckets(store: &Sqlite, readings: &[Reading], width: i64, limit: u32, when: &str) {
    let (query, duration) = (temperatures(true), Duration::from_secs(width.unsigned_abs()));
    let found = all_items(limit, async |page| store.buckets(&query, duration, &page).await.unwrap()).await;
    let expected = model(readings, width);
    let starts = |model: &Model| model.keys().copied().collect::<Vec<_>>();
    let found_starts: Vec<_> = found.iter().map(|bucket| bucket.start.as_micros()).collect();
    assert_eq!(found_starts, starts(&expected), "{width} s, {when}");
    for (bucket, (present, missing, sum, min, max)) in found.iter().zip(expected.into_values()) {
        let case = format!("{width} s from {}, {when}", bucket.start);
        assert_eq!((bucket.count, bucket.missing), (Some(present), missing), "{case}");
        let if_present = |number| (present > 0).then_some(number);
        assert_eq!((bucket.min, bucket.max), (if_present(min), if_present(max)), "{case}");
        let difference = bucket.avg.unwrap_or(0.0) - if_present(sum / present as f64).unwrap_or(0.0);
        assert!(difference.abs() < 1e-9 && bucket.avg.is_some() == (present > 0), "{:?}: {case}", bucket.avg);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn buckets_equal_the_aggregates_of_their_readings(
        parts in prop::collection::vec((1_i64..2_500, prop::sample::select(vec![1_i64, 7, 60, 600, 3_600])), 1..5),
        late_one_in in 2_usize..9,
        compact_at in prop::sample::select(vec![300_usize, 1_000, 4_000]),
        expired in 0_usize..100,
        width in prop::sample::select(vec![60_i64, 300, 3_600, 7_200, 86_400]),
        limit in 40_u32..1_000,
    ) {
        let mut at = 0;
        let mut readings = Vec::new();
        for (count, interval) in parts {
            for _ in 0..count {
                let failed = |reading: Reading| reading.with_outcome(Outcome::no_data("none"));
                readings.push(if at % 11 == 3 { failed(reading(1, at)) } else { reading(1, at) });
                at += interval;
            }
        }
        let (late, first): (Vec<_>, Vec<_>) =
            readings.iter().cloned().enumerate().partition(|(n, _)| n % late_one_in == 1);
        let raw_before = Some(readings[readings.len() * expired / 100].taken_at);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

        runtime.block_on(async {
            let options = StoreOptions { compact_at: Some(compact_at), ..StoreOptions::default() };
            let store = Sqlite::open(":memory:", options).await.unwrap();
            for batch in first.chunks(200) {
                store.record(batch.iter().map(|(_, one)| one.clone()).collect(), 10, NOW).await.unwrap();
            }
            let arrived: Vec<_> = first.into_iter().map(|(_, one)| one).collect();
            assert_buckets(&store, &arrived, width, limit, "as they arrived").await;
            store.expire(&ExpiryPlan { raw_before, ..ExpiryPlan::default() }, false).await.unwrap();
            assert_buckets(&store, &arrived, width, limit, "after old readings expired").await;
            for batch in late.chunks(170) {
                store.record(batch.iter().map(|(_, one)| one.clone()).collect(), 10, NOW).await.unwrap();
            }
            store.compact().await.unwrap();
            assert_buckets(&store, &readings, width, limit, "with the late readings").await;
            store.expire(&ExpiryPlan { raw_before, ..ExpiryPlan::default() }, false).await.unwrap();
            assert_buckets(&store, &readings, width, limit, "after late readings expired").await;
        });
    }
}

#[tokio::test]
async fn buckets_are_the_same_when_the_file_is_opened_again() {
    for interval in [1, 10, 60, 3_600] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let readings: Vec<_> = (0..9_500).map(|n| reading(interval, n)).collect();
        let store = open_compacting(&format!("//{}", path.display())).await;
        record(&store, readings[..9_000].to_vec()).await;
        store.record(readings[9_000..].to_vec(), 10, NOW).await.unwrap();
        let plan = ExpiryPlan { raw_before: Some(readings[5_000].taken_at), ..ExpiryPlan::default() };
        store.expire(&plan, false).await.unwrap();
        store.close().await.unwrap();

        let store = open(&path).await.unwrap();

        for width in [60, 3_600, 86_400] {
            assert_buckets(&store, &readings, width, 1000, "opened again").await;
        }
        assert!(store.verify(true).await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn a_damaged_rollup_block_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let store = open(&path).await.unwrap();
    record(&store, (0..9_000).map(|n| reading(60, n))).await;
    let plan = ExpiryPlan { raw_before: Some(reading(60, 9_000).taken_at), ..ExpiryPlan::default() };
    store.expire(&plan, false).await.unwrap();
    assert!(rows(&store, "rollup_blocks").await > 0);
    store.close().await.unwrap();

    let db = Connection::open(&path).unwrap();
    let mut body: Vec<u8> = db.query_row("SELECT body FROM rollup_blocks", [], |row| row.get(0)).unwrap();
    body[9] ^= 1;
    db.execute("UPDATE rollup_blocks SET body = ?1", [body]).unwrap();
    drop(db);

    let found = open(&path).await.unwrap().verify(true).await.unwrap();
    assert!(found.faults.iter().any(|fault| fault.contains("sums of attic/temperature")), "{found:?}");
}

#[tokio::test]
async fn buckets_of_expired_readings_are_listed_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("//{}/hub.db", folder.path().display());
    let store = open_compacting(&location).await;
    // The readings are so sparse that they have no rollups. There are two modules, so that pages are computed
    // in steps.
    record(&store, (0..3_000).map(|n| reading(3_600, n))).await;
    let mut of_other = reading(3_600, 2_999);
    of_other.module_id = ModuleId::new("other").unwrap();
    record(&store, [of_other]).await;
    let raw_before = Some(reading(3_600, 2_900).taken_at);
    store.expire(&ExpiryPlan { raw_before, ..ExpiryPlan::default() }, false).await.unwrap();
    assert!(rows(&store, "rollup_blocks").await > 0);
    store.close().await.unwrap();
    drop(store);

    let store = open_compacting(&location).await;
    let (query, width) = (temperatures(true), Duration::from_secs(86_400));
    let found = all_items(10, async |page| store.buckets(&query, width, &page).await.unwrap()).await;

    assert_eq!(found.iter().filter_map(|bucket| bucket.count).sum::<u64>(), 3_001);
}
