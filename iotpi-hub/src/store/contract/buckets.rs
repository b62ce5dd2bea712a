//! Records summed up: at any rate, for any width, whatever form the engine keeps them in.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use iotpi_core::{Bucket, Outcome, Quantity, Reading, Sample, Timestamp};

use super::{MANY, after, all, module, start};
use crate::store::{ExpiryPlan, ReadingQuery, Store};

/// Seconds between two records: the rates at which things are measured.
const INTERVALS: [i64; 4] = [1, 10, 60, 3_600];
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// Widths of buckets, seconds.
const WIDTHS: [i64; 6] = [MINUTE, 5 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY];

fn of_rate(interval: i64) -> String {
    format!("every-{interval}-s")
}

/// The record number `n` of a module that measures every `interval` seconds, not quite on time; each 97th has no value.
fn reading(interval: i64, n: i64) -> Reading {
    let taken_us = start().as_micros() + n * interval * 1_000_000 + n * 7_919 % 90_000;
    let value = 20.0 + (n * 37 % 101) as f64 / 10.0;
    let outcome = if n % 97 == 0 { Outcome::no_data("no answer") } else { Outcome::Value(value) };
    let sample = Sample { quantity: Quantity::Temperature, outcome };
    Reading::new(module(&of_rate(interval)), sample, Timestamp::from_micros(taken_us))
}

async fn record(store: &Arc<dyn Store>, readings: Vec<Reading>) {
    for batch in readings.chunks(1000) {
        store.record(batch.to_vec(), MANY, after(0)).await.unwrap();
    }
}

fn query(interval: i64) -> ReadingQuery {
    let module_id = Some(module(&of_rate(interval)));
    let sensor = Quantity::Temperature.name();
    ReadingQuery { sensor, module_id, since: None, until: None, not_after: None, ascending: true }
}

async fn buckets(store: &Arc<dyn Store>, query: &ReadingQuery, width: i64) -> Vec<Bucket> {
    let width = Duration::from_secs(width.unsigned_abs());
    all(1000, async |page| store.buckets(query, width, &page).await.unwrap()).await.0
}

/// What records come to, summed up one by one.
#[derive(Debug, Default)]
struct Expected {
    values: Vec<f64>,
    missing: u64,
}

fn check(found: &[Bucket], records: &[Reading], width: i64, when: &str) {
    let mut expected = BTreeMap::<i64, Expected>::new();
    for record in records {
        let taken_us = record.taken_at.as_micros();
        let bucket = expected.entry(taken_us - taken_us.rem_euclid(width * 1_000_000)).or_default();
        match record.outcome.value() {
            Some(value) => bucket.values.push(value),
            None => bucket.missing += 1,
        }
    }
    assert_eq!(found.len(), expected.len(), "buckets of {width} s, {when}");
    for (bucket, (start_us, expected)) in found.iter().zip(&expected) {
        let values = &expected.values;
        let case = format!("{width} s from {start_us}, {when}");
        assert_eq!(bucket.start.as_micros(), *start_us, "{case}");
        assert_eq!((bucket.count, bucket.missing), (Some(values.len() as u64), expected.missing), "{case}");
        let extreme = |pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick);
        assert_eq!((bucket.min, bucket.max), (extreme(f64::min), extreme(f64::max)), "{case}");
        let avg = (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let is_close = bucket.avg.zip(avg).map_or(bucket.avg == avg, |(a, b)| (a - b).abs() < 1e-9);
        assert!(is_close, "{:?} for {avg:?}: {case}", bucket.avg);
    }
}

async fn check_all(store: &Arc<dyn Store>, interval: i64, records: &[Reading], narrowest: i64, when: &str) {
    for width in WIDTHS.into_iter().filter(|width| *width >= narrowest) {
        check(&buckets(store, &query(interval), width).await, records, width, when);
    }
}

pub async fn buckets_of_any_width_are_correct_at_any_sampling_rate(store: Arc<dyn Store>) {
    for interval in INTERVALS {
        let records: Vec<_> = (0..5_000).map(|n| reading(interval, n)).collect();

        record(&store, records.clone()).await;
        check_all(&store, interval, &records, 0, "as they arrived").await;

        store.settle().await.unwrap();
        check_all(&store, interval, &records, 0, "at rest").await;
        check(&buckets(&store, &query(interval), 7).await, &records, 7, "at rest");
    }
}

pub async fn buckets_are_correct_for_a_range_that_is_not_aligned(store: Arc<dyn Store>) {
    for interval in INTERVALS {
        let records: Vec<_> = (0..5_000).map(|n| reading(interval, n)).collect();
        record(&store, records.clone()).await;
        store.settle().await.unwrap();
        let (since, until) = (records[1_234].taken_at, records[4_321].taken_at);

        let part = ReadingQuery { since: Some(since), until: Some(until), ..query(interval) };
        for width in WIDTHS {
            check(&buckets(&store, &part, width).await, &records[1_234..4_321], width, "a part");
        }
    }
}

pub async fn late_readings_are_added_to_every_bucket(store: Arc<dyn Store>) {
    for interval in INTERVALS {
        let late = |n: &i64| n % 3 == 1 || (2_000..3_000).contains(n);
        let (late, first): (Vec<i64>, Vec<i64>) = (0..6_000).partition(late);
        let records = |numbers: &[i64]| numbers.iter().map(|n| reading(interval, *n)).collect::<Vec<_>>();

        record(&store, records(&first)).await;
        store.settle().await.unwrap();
        for part in late.chunks(700) {
            record(&store, records(part)).await;
            store.settle().await.unwrap();
        }

        let whole: Vec<_> = (0..6_000).map(|n| reading(interval, n)).collect();
        check_all(&store, interval, &whole, 0, "late records").await;
    }
}

pub async fn buckets_are_correct_when_the_sampling_rate_changes(store: Arc<dyn Store>) {
    // One a second, then one a minute, a burst each hour, and one a second again.
    let mut at = 0;
    let mut records = Vec::new();
    for (count, interval) in [(3_000, 1), (2_000, 60), (20, 3_600), (1_500, 1), (3_000, 60), (5_000, 1)] {
        for _ in 0..count {
            records
                .push(Reading { taken_at: start().plus(Duration::from_secs(at)), ..reading(1, at as i64) });
            at += interval;
        }
    }

    for part in records.chunks(457) {
        record(&store, part.to_vec()).await;
        store.settle().await.unwrap();
    }

    check_all(&store, 1, &records, 0, "at changing rates").await;
}

fn at(interval: i64, n: i64) -> Option<Timestamp> {
    Some(reading(interval, n).taken_at)
}

pub async fn buckets_are_unchanged_after_their_readings_expire(store: Arc<dyn Store>) {
    for interval in INTERVALS {
        let mut records: Vec<_> = (0..9_000).map(|n| reading(interval, n)).collect();
        record(&store, records.clone()).await;
        store.settle().await.unwrap();
        let plan = ExpiryPlan { raw_before: at(interval, 8_000), ..ExpiryPlan::default() };

        let report = store.expire(&plan, false).await.unwrap();

        assert!(report.raw.gone >= 3_000 && report.minutes.gone == 0, "{report:?}");
        check_all(&store, interval, &records, 0, "without the records").await;

        // An outbox delivers what it still has from then; those records go as well, and their sums stay.
        let late: Vec<_> = (1_000..1_100)
            .map(|n| Reading { taken_at: at(interval, n).unwrap(), ..reading(interval, n + 1) })
            .collect();
        record(&store, late.clone()).await;
        store.settle().await.unwrap();
        records.extend(late);
        check_all(&store, interval, &records, 0, "with late records").await;
        store.expire(&plan, false).await.unwrap();
        check_all(&store, interval, &records, 0, "without the late records").await;
    }
}

pub async fn rollups_of_each_width_expire_separately_and_wider_ones_remain(store: Arc<dyn Store>) {
    for interval in INTERVALS {
        let records: Vec<_> = (0..20_000).map(|n| reading(interval, n)).collect();
        record(&store, records.clone()).await;
        store.settle().await.unwrap();
        let before = at(interval, 19_000);
        store.expire(&ExpiryPlan { raw_before: before, ..ExpiryPlan::default() }, false).await.unwrap();

        let minutes = ExpiryPlan { minutes_before: before, ..ExpiryPlan::default() };
        let report = store.expire(&minutes, false).await.unwrap();
        assert!(report.minutes.gone > 0 && report.hours.gone == 0, "every {interval} s: {report:?}");
        check_all(&store, interval, &records, HOUR, "without minutes").await;
        let left = buckets(&store, &query(interval), MINUTE).await;
        let of_all = 20_000 * interval.min(60) / 60;
        assert!((left.len() as i64) < of_all, "every {interval} s: {} minutes of {of_all}", left.len());
        assert_eq!(store.expire(&minutes, false).await.unwrap().minutes.gone, 0, "they are gone");

        let hours = ExpiryPlan { hours_before: before, ..minutes };
        store.expire(&hours, false).await.unwrap();
        check_all(&store, interval, &records, DAY, "without hours").await;

        let days = ExpiryPlan { days_before: before, ..hours };
        store.expire(&days, false).await.unwrap();
        let left = buckets(&store, &query(interval), DAY).await;
        let counted: u64 = left.iter().map(|day| day.count.unwrap() + day.missing).sum();
        assert!(counted < 20_000 || interval * 20_000 < 2 * DAY, "every {interval} s: {counted}");
    }
}

pub async fn rollups_of_readings_that_are_still_stored_do_not_expire(store: Arc<dyn Store>) {
    for interval in INTERVALS {
        let records: Vec<_> = (0..9_000).map(|n| reading(interval, n)).collect();
        record(&store, records.clone()).await;
        store.settle().await.unwrap();
        let before = at(interval, 9_000);
        let plan = ExpiryPlan {
            minutes_before: before,
            hours_before: before,
            days_before: before,
            ..ExpiryPlan::default()
        };

        let report = store.expire(&plan, false).await.unwrap();

        assert_eq!((report.minutes.gone, report.hours.gone, report.days.gone), (0, 0, 0), "{report:?}");
        check_all(&store, interval, &records, 0, "with a shorter rule for the sums").await;
    }
}
