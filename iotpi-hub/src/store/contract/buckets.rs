//! Buckets: correct at any sampling rate and for any width, in every form in which the engine stores the
//! readings.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use iotpi_core::{Outcome, Quantity, Reading, Sample, Timestamp, model::reading::Bucket};

use super::{MAX_SERIES, after, all_pages, module, start};
use crate::store::{ExpiryPlan, ReadingQuery, Store};

/// Sampling intervals in seconds.
const INTERVALS: [i64; 4] = [1, 10, 60, 3_600];
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// Widths of buckets in seconds.
const WIDTHS: [i64; 6] = [MINUTE, 5 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY];

fn module_name(interval: i64) -> String {
    format!("every-{interval}-s")
}

/// Reading `n` of a module that measures every `interval` seconds with some jitter; each 97th reading has no
/// value.
fn reading(interval: i64, n: i64) -> Reading {
    let taken_us = start().as_micros() + n * interval * 1_000_000 + n * 7_919 % 90_000;
    let value = 20.0 + (n * 37 % 101) as f64 / 10.0;
    let outcome = if n % 97 == 0 { Outcome::no_data("no answer") } else { Outcome::Value(value) };
    let sample = Sample::of(Quantity::Temperature, outcome);
    Reading::new(module(&module_name(interval)), sample, Timestamp::from_micros(taken_us))
}

async fn record(store: &Arc<dyn Store>, readings: Vec<Reading>) {
    for batch in readings.chunks(1000) {
        store.record(batch.to_vec(), MAX_SERIES, after(0)).await.unwrap();
    }
}

fn query(interval: i64) -> ReadingQuery {
    let module_id = Some(module(&module_name(interval)));
    let sensor = Quantity::Temperature.name();
    ReadingQuery {
        sensor,
        module_id,
        channel: None,
        since: None,
        until: None,
        not_after: None,
        ascending: true,
    }
}

async fn buckets(store: &Arc<dyn Store>, query: &ReadingQuery, width: i64) -> Vec<Bucket> {
    let width = Duration::from_secs(width.unsigned_abs());
    all_pages(1000, async |page| store.buckets(query, width, &page).await.unwrap()).await.0
}

/// The expected bucket, computed from each of its readings.
#[derive(Debug, Default)]
struct Expected {
    values: Vec<f64>,
    missing: u64,
}

fn assert_buckets(found: &[Bucket], readings: &[Reading], width: i64, when: &str) {
    let mut expected = BTreeMap::<i64, Expected>::new();
    for reading in readings {
        let taken_us = reading.taken_at.as_micros();
        let bucket = expected.entry(taken_us - taken_us.rem_euclid(width * 1_000_000)).or_default();
        match reading.outcome.value() {
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

/// Compares the buckets of all widths from `min_width` on.
async fn assert_all_widths(
    store: &Arc<dyn Store>,
    interval: i64,
    readings: &[Reading],
    min_width: i64,
    when: &str,
) {
    for width in WIDTHS.into_iter().filter(|width| *width >= min_width) {
        assert_buckets(&buckets(store, &query(interval), width).await, readings, width, when);
    }
}

pub async fn buckets_of_any_width_are_correct_at_any_sampling_rate(store: Arc<dyn Store>) {
    for interval in INTERVALS {
        let readings: Vec<_> = (0..5_000).map(|n| reading(interval, n)).collect();

        record(&store, readings.clone()).await;
        assert_all_widths(&store, interval, &readings, 0, "as they arrived").await;

        store.compact().await.unwrap();
        assert_all_widths(&store, interval, &readings, 0, "after compaction").await;
        assert_buckets(&buckets(&store, &query(interval), 7).await, &readings, 7, "after compaction");
    }
}

pub async fn buckets_are_correct_for_a_range_that_is_not_aligned(store: Arc<dyn Store>) {
    for interval in INTERVALS {
        let readings: Vec<_> = (0..5_000).map(|n| reading(interval, n)).collect();
        record(&store, readings.clone()).await;
        store.compact().await.unwrap();
        let (since, until) = (readings[1_234].taken_at, readings[4_321].taken_at);

        let part = ReadingQuery { since: Some(since), until: Some(until), ..query(interval) };
        for width in WIDTHS {
            assert_buckets(
                &buckets(&store, &part, width).await,
                &readings[1_234..4_321],
                width,
                "a part of the range",
            );
        }
    }
}

pub async fn late_readings_are_added_to_every_bucket(store: Arc<dyn Store>) {
    for interval in INTERVALS {
        let late = |n: &i64| n % 3 == 1 || (2_000..3_000).contains(n);
        let (late, first): (Vec<i64>, Vec<i64>) = (0..6_000).partition(late);
        let numbered = |numbers: &[i64]| numbers.iter().map(|n| reading(interval, *n)).collect::<Vec<_>>();

        record(&store, numbered(&first)).await;
        store.compact().await.unwrap();
        for part in late.chunks(700) {
            record(&store, numbered(part)).await;
            store.compact().await.unwrap();
        }

        let whole: Vec<_> = (0..6_000).map(|n| reading(interval, n)).collect();
        assert_all_widths(&store, interval, &whole, 0, "late readings").await;
    }
}

pub async fn buckets_are_correct_when_the_sampling_rate_changes(store: Arc<dyn Store>) {
    // One reading a second, one a minute, one an hour, and one a second and one a minute again.
    let mut elapsed_secs = 0;
    let mut readings = Vec::new();
    for (count, interval) in [(3_000, 1), (2_000, 60), (20, 3_600), (1_500, 1), (3_000, 60), (5_000, 1)] {
        for _ in 0..count {
            let taken_at = start().plus(Duration::from_secs(elapsed_secs));
            readings.push(reading(1, elapsed_secs as i64).with_taken_at(taken_at));
            elapsed_secs += interval;
        }
    }

    for part in readings.chunks(457) {
        record(&store, part.to_vec()).await;
        store.compact().await.unwrap();
    }

    assert_all_widths(&store, 1, &readings, 0, "at changing rates").await;
}

fn at(interval: i64, n: i64) -> Option<Timestamp> {
    Some(reading(interval, n).taken_at)
}

pub async fn buckets_are_unchanged_after_their_readings_expire(store: Arc<dyn Store>) {
    for interval in INTERVALS {
        let mut readings: Vec<_> = (0..9_000).map(|n| reading(interval, n)).collect();
        record(&store, readings.clone()).await;
        store.compact().await.unwrap();
        let plan = ExpiryPlan { raw_before: at(interval, 8_000), ..ExpiryPlan::default() };

        let report = store.expire(&plan, false).await.unwrap();

        assert!(report.raw.deleted >= 3_000 && report.minutes.deleted == 0, "{report:?}");
        assert_all_widths(&store, interval, &readings, 0, "after the readings expired").await;

        // An outbox delivers readings of that time late. They expire, too, and their rollups remain.
        let late: Vec<_> = (1_000..1_100)
            .map(|n| reading(interval, n + 1).with_taken_at(at(interval, n).unwrap()))
            .collect();
        record(&store, late.clone()).await;
        store.compact().await.unwrap();
        readings.extend(late);
        assert_all_widths(&store, interval, &readings, 0, "with late readings").await;
        store.expire(&plan, false).await.unwrap();
        assert_all_widths(&store, interval, &readings, 0, "after the late readings expired").await;
    }
}

pub async fn rollups_of_each_width_expire_separately_and_wider_ones_remain(store: Arc<dyn Store>) {
    for interval in INTERVALS {
        let readings: Vec<_> = (0..20_000).map(|n| reading(interval, n)).collect();
        record(&store, readings.clone()).await;
        store.compact().await.unwrap();
        let before = at(interval, 19_000);
        store.expire(&ExpiryPlan { raw_before: before, ..ExpiryPlan::default() }, false).await.unwrap();

        let minutes = ExpiryPlan { minutes_before: before, ..ExpiryPlan::default() };
        let report = store.expire(&minutes, false).await.unwrap();
        assert!(report.minutes.deleted > 0 && report.hours.deleted == 0, "every {interval} s: {report:?}");
        assert_all_widths(&store, interval, &readings, HOUR, "after the minutes expired").await;
        let remaining = buckets(&store, &query(interval), MINUTE).await;
        let total = 20_000 * interval.min(60) / 60;
        assert!(
            (remaining.len() as i64) < total,
            "every {interval} s: {} of {total} minutes",
            remaining.len()
        );
        assert_eq!(
            store.expire(&minutes, false).await.unwrap().minutes.deleted,
            0,
            "nothing is left to expire"
        );

        let hours = ExpiryPlan { hours_before: before, ..minutes };
        store.expire(&hours, false).await.unwrap();
        assert_all_widths(&store, interval, &readings, DAY, "after the hours expired").await;

        let days = ExpiryPlan { days_before: before, ..hours };
        store.expire(&days, false).await.unwrap();
        let remaining = buckets(&store, &query(interval), DAY).await;
        let counted: u64 = remaining.iter().map(|day| day.count.unwrap() + day.missing).sum();
        assert!(counted < 20_000 || interval * 20_000 < 2 * DAY, "every {interval} s: {counted}");
    }
}

pub async fn rollups_of_readings_that_are_still_stored_do_not_expire(store: Arc<dyn Store>) {
    for interval in INTERVALS {
        let readings: Vec<_> = (0..9_000).map(|n| reading(interval, n)).collect();
        record(&store, readings.clone()).await;
        store.compact().await.unwrap();
        let before = at(interval, 9_000);
        let plan = ExpiryPlan {
            minutes_before: before,
            hours_before: before,
            days_before: before,
            ..ExpiryPlan::default()
        };

        let report = store.expire(&plan, false).await.unwrap();

        assert_eq!(
            (report.minutes.deleted, report.hours.deleted, report.days.deleted),
            (0, 0, 0),
            "{report:?}"
        );
        assert_all_widths(&store, interval, &readings, 0, "with an earlier time for the rollups").await;
    }
}
