//! Pages of the readings of one type from all modules.

use std::{ops::Range, sync::Arc};

use iotpi_core::{Quantity, Reading, Sample, Timestamp};

use super::{MAX_SERIES, after, all_pages, module, page, start};
use crate::store::{ExpiryPlan, PageRequest, ReadingQuery, Store};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(start().as_micros() + secs * 1_000_000)
}

/// A reading of module `n`; `value` identifies it.
fn reading(n: i64, secs: i64, value: i64) -> Reading {
    let sample = Sample::new(Quantity::Temperature, value as f64);
    Reading::new(module(&format!("m{n:03}")), sample, at(secs)).with_received_at(after(0).wall)
}

/// A reading of each module for each second, ordered by time.
fn regular(modules: i64, secs: Range<i64>) -> Vec<Reading> {
    secs.flat_map(|secs| (0..modules).map(move |n| reading(n, secs, secs * 1000 + n))).collect()
}

fn query(since: Option<i64>, until: Option<i64>, ascending: bool) -> ReadingQuery {
    ReadingQuery {
        sensor: Quantity::Temperature.name(),
        module_id: None,
        channel: None,
        since: since.map(at),
        until: until.map(at),
        not_after: None,
        ascending,
    }
}

async fn record(store: &Arc<dyn Store>, readings: &[Reading]) {
    for batch in readings.chunks(500) {
        store.record(batch.to_vec(), MAX_SERIES, after(0)).await.unwrap();
    }
}

/// Compares all pages with the sorted readings, for several time ranges, both orders and each page size.
async fn assert_pages(store: &Arc<dyn Store>, stored: &[Reading], limits: &[u32]) {
    let windows = [(None, None), (Some(2), None), (None, Some(3)), (Some(1), Some(4)), (Some(9), Some(9))];
    for (since, until) in windows {
        for ascending in [true, false] {
            let query = query(since, until, ascending);
            let mut expected: Vec<_> = stored
                .iter()
                .filter(|r| query.since.is_none_or(|since| r.taken_at >= since))
                .filter(|r| query.until.is_none_or(|until| r.taken_at < until))
                .cloned()
                .collect();
            // A stable sort: readings of one module and microsecond stay in order of arrival.
            expected.sort_by_key(|r| (r.taken_at, r.module_id.clone()));
            if !ascending {
                expected.reverse();
            }
            for limit in limits {
                let (found, _) =
                    all_pages(*limit, async |page| store.readings(&query, &page).await.unwrap()).await;

                assert_eq!(found.len(), expected.len(), "{query:?} by {limit}");
                assert!(found == expected, "{query:?} by {limit}");
            }
        }
    }
}

pub async fn readings_of_the_same_moment_have_one_order_for_every_page_size(store: Arc<dyn Store>) {
    let mut stored = regular(30, 0..5);
    stored.extend((0..30).step_by(7).flat_map(|n| [reading(n, 3, -1), reading(n, 3, -2), reading(n, 3, -3)]));

    record(&store, &stored).await;

    assert_pages(&store, &stored, &[1, 7, 30, 1000]).await;
    store.compact().await.unwrap();
    assert_pages(&store, &stored, &[1, 7, 30, 1000]).await;
}

pub async fn late_readings_appear_when_pages_are_read_again(store: Arc<dyn Store>) {
    let mut stored = regular(20, 0..5);
    record(&store, &stored).await;
    store.compact().await.unwrap();
    assert_pages(&store, &stored, &[50]).await;

    // In the middle, at both ends, and at the microsecond of another reading.
    let late =
        [reading(7, 2, -1), reading(19, -3, -2), reading(0, 9, -3), reading(4, 4, -4), reading(33, 2, -5)];
    for late in late {
        record(&store, std::slice::from_ref(&late)).await;
        stored.push(late);
        assert_pages(&store, &stored, &[50]).await;
    }

    store.compact().await.unwrap();
    assert_pages(&store, &stored, &[3, 50]).await;
}

pub async fn modules_with_disjoint_time_ranges_are_merged_into_one_list(store: Arc<dyn Store>) {
    // Each module has a few readings in a time range of its own, so few modules contribute to a page.
    let stored: Vec<_> =
        (0..40).flat_map(|n| (0..5).map(move |k| reading(n, n % 10 * 3 - 10 + k % 2, n * 10 + k))).collect();

    record(&store, &stored).await;
    store.compact().await.unwrap();

    assert_pages(&store, &stored, &[1, 11, 200]).await;
}

pub async fn a_cursor_over_all_modules_continues_after_writes_and_a_compaction(store: Arc<dyn Store>) {
    record(&store, &regular(10, 0..4)).await;
    let query = query(None, None, false);
    let first = store.readings(&query, &page(15)).await.unwrap();

    record(&store, &regular(10, 4..6)).await;
    store.compact().await.unwrap();
    let rest = PageRequest { limit: 100, cursor: first.next };
    let rest = store.readings(&query, &rest).await.unwrap();

    let mut expected = regular(10, 0..4);
    expected.reverse();
    assert_eq!([first.items, rest.items].concat(), expected);
    assert_eq!(rest.next, None);
}

pub async fn a_removed_module_disappears_when_pages_are_read_again(store: Arc<dyn Store>) {
    let mut stored = regular(10, 0..5);
    record(&store, &stored).await;
    assert_pages(&store, &stored, &[100]).await;

    store.remove_module(&module("m003")).await.unwrap();
    stored.retain(|reading| reading.module_id != module("m003"));
    assert_pages(&store, &stored, &[100]).await;

    // A new module with the same id starts empty.
    stored.push(reading(3, 2, -1));
    record(&store, &stored[stored.len() - 1..]).await;
    assert_pages(&store, &stored, &[4, 100]).await;
}

pub async fn expired_readings_disappear_when_pages_are_read_again(store: Arc<dyn Store>) {
    const DAY: i64 = 86_400;
    // A chunk spans at most 30 days, so readings that are a hundred days old have chunks of their own.
    let old: Vec<_> = (0..8).map(|n| reading(n, -100 * DAY, n)).collect();
    let stored = regular(8, 0..5);
    record(&store, &[old.clone(), stored.clone()].concat()).await;
    store.compact().await.unwrap();
    assert_pages(&store, &[old, stored.clone()].concat(), &[100]).await;

    let plan = ExpiryPlan { raw_before: Some(at(-50 * DAY)), ..ExpiryPlan::default() };
    store.expire(&plan, false).await.unwrap();

    assert_pages(&store, &stored, &[3, 100]).await;
}

pub async fn pages_follow_a_latest_time_that_advances(store: Arc<dyn Store>) {
    // The readings of the last seconds are later than every latest time of the queries.
    let mut stored = [regular(10, 0..5), regular(10, 90..95)].concat();
    record(&store, &stored).await;
    store.compact().await.unwrap();

    for latest in 2..9 {
        let late = reading(latest % 10, latest - 3, -latest);
        record(&store, std::slice::from_ref(&late)).await;
        stored.push(late);
        for ascending in [true, false] {
            let query = ReadingQuery { not_after: Some(at(latest)), ..query(None, None, ascending) };
            let (found, _) = all_pages(7, async |page| store.readings(&query, &page).await.unwrap()).await;

            let mut expected: Vec<_> = stored.iter().filter(|r| r.taken_at <= at(latest)).cloned().collect();
            expected.sort_by_key(|r| (r.taken_at, r.module_id.clone()));
            if !ascending {
                expected.reverse();
            }
            assert!(found == expected, "{query:?}");
        }
    }
}
