//! Pages of a sensor type's records over all its modules.

use std::{ops::Range, sync::Arc};

use iotpi_core::{Quantity, Reading, Sample, Timestamp};

use super::{MANY, after, all, module, page, start};
use crate::store::{ExpiryPlan, PageRequest, ReadingQuery, Store};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(start().as_micros() + secs * 1_000_000)
}

/// A record of the `n`-th module. `mark` tells it from the others.
fn record(n: i64, secs: i64, mark: i64) -> Reading {
    let sample = Sample::new(Quantity::Temperature, mark as f64);
    let reading = Reading::new(module(&format!("m{n:03}")), sample, at(secs));
    Reading { received_at: Some(after(0).wall), ..reading }
}

/// So many modules that each sent a record at each of these seconds, second by second.
fn even(modules: i64, secs: Range<i64>) -> Vec<Reading> {
    secs.flat_map(|secs| (0..modules).map(move |n| record(n, secs, secs * 1000 + n))).collect()
}

fn query(since: Option<i64>, until: Option<i64>, ascending: bool) -> ReadingQuery {
    ReadingQuery {
        sensor: Quantity::Temperature.name(),
        module_id: None,
        since: since.map(at),
        until: until.map(at),
        not_after: None,
        ascending,
    }
}

async fn keep(store: &Arc<dyn Store>, readings: &[Reading]) {
    for batch in readings.chunks(500) {
        store.record(batch.to_vec(), MANY, after(0)).await.unwrap();
    }
}

/// The store's pages, put together, are what sorting all records gives: whichever way, whatever the size of a page.
async fn pages_are(store: &Arc<dyn Store>, kept: &[Reading], limits: &[u32]) {
    let windows = [(None, None), (Some(2), None), (None, Some(3)), (Some(1), Some(4)), (Some(9), Some(9))];
    for (since, until) in windows {
        for ascending in [true, false] {
            let query = query(since, until, ascending);
            let mut expected: Vec<_> = kept
                .iter()
                .filter(|r| query.since.is_none_or(|since| r.taken_at >= since))
                .filter(|r| query.until.is_none_or(|until| r.taken_at < until))
                .cloned()
                .collect();
            // Stable: those of one module and microsecond stay as they arrived.
            expected.sort_by_key(|r| (r.taken_at, r.module_id.clone()));
            if !ascending {
                expected.reverse();
            }
            for limit in limits {
                let (found, _) = all(*limit, async |page| store.readings(&query, &page).await.unwrap()).await;

                assert_eq!(found.len(), expected.len(), "{query:?} by {limit}");
                assert!(found == expected, "{query:?} by {limit}");
            }
        }
    }
}

pub async fn readings_of_the_same_moment_have_one_order_for_every_page_size(store: Arc<dyn Store>) {
    let mut kept = even(30, 0..5);
    kept.extend((0..30).step_by(7).flat_map(|n| [record(n, 3, -1), record(n, 3, -2), record(n, 3, -3)]));

    keep(&store, &kept).await;

    pages_are(&store, &kept, &[1, 7, 30, 1000]).await;
    store.settle().await.unwrap();
    pages_are(&store, &kept, &[1, 7, 30, 1000]).await;
}

pub async fn late_readings_appear_when_pages_are_read_again(store: Arc<dyn Store>) {
    let mut kept = even(20, 0..5);
    keep(&store, &kept).await;
    store.settle().await.unwrap();
    pages_are(&store, &kept, &[50]).await;

    // Into the middle, at both ends, and beside one of the same microsecond.
    let late = [record(7, 2, -1), record(19, -3, -2), record(0, 9, -3), record(4, 4, -4), record(33, 2, -5)];
    for reading in late {
        keep(&store, std::slice::from_ref(&reading)).await;
        kept.push(reading);
        pages_are(&store, &kept, &[50]).await;
    }

    store.settle().await.unwrap();
    pages_are(&store, &kept, &[3, 50]).await;
}

pub async fn modules_with_disjoint_time_ranges_are_merged_into_one_list(store: Arc<dyn Store>) {
    // One after the other, each with a few records: only a few can contribute to any page.
    let kept: Vec<_> =
        (0..40).flat_map(|n| (0..5).map(move |k| record(n, n % 10 * 3 - 10 + k % 2, n * 10 + k))).collect();

    keep(&store, &kept).await;
    store.settle().await.unwrap();

    pages_are(&store, &kept, &[1, 11, 200]).await;
}

pub async fn a_cursor_over_all_modules_continues_after_writes_and_a_compaction(store: Arc<dyn Store>) {
    keep(&store, &even(10, 0..4)).await;
    let whole = query(None, None, false);
    let first = store.readings(&whole, &page(15)).await.unwrap();

    keep(&store, &even(10, 4..6)).await;
    store.settle().await.unwrap();
    let rest = PageRequest { limit: 100, cursor: first.next };
    let rest = store.readings(&whole, &rest).await.unwrap();

    let mut expected = even(10, 0..4);
    expected.reverse();
    assert_eq!([first.items, rest.items].concat(), expected);
    assert_eq!(rest.next, None);
}

pub async fn a_removed_module_disappears_when_pages_are_read_again(store: Arc<dyn Store>) {
    let mut kept = even(10, 0..5);
    keep(&store, &kept).await;
    pages_are(&store, &kept, &[100]).await;

    store.remove_module(&module("m003")).await.unwrap();
    kept.retain(|reading| reading.module_id != module("m003"));
    pages_are(&store, &kept, &[100]).await;

    // One of the same name begins anew.
    kept.push(record(3, 2, -1));
    keep(&store, &kept[kept.len() - 1..]).await;
    pages_are(&store, &kept, &[4, 100]).await;
}

pub async fn expired_readings_disappear_when_pages_are_read_again(store: Arc<dyn Store>) {
    const DAY: i64 = 86_400;
    // Chunks do not reach over 30 days, so that what is a hundred days old lies in chunks of its own.
    let old: Vec<_> = (0..8).map(|n| record(n, -100 * DAY, n)).collect();
    let kept = even(8, 0..5);
    keep(&store, &[old.clone(), kept.clone()].concat()).await;
    store.settle().await.unwrap();
    pages_are(&store, &[old, kept.clone()].concat(), &[100]).await;

    let plan = ExpiryPlan { raw_before: Some(at(-50 * DAY)), ..ExpiryPlan::default() };
    store.expire(&plan, false).await.unwrap();

    pages_are(&store, &kept, &[3, 100]).await;
}

pub async fn pages_follow_a_latest_time_that_advances(store: Arc<dyn Store>) {
    // Those of the last seconds are ahead of every latest time that is asked with.
    let mut kept = [even(10, 0..5), even(10, 90..95)].concat();
    keep(&store, &kept).await;
    store.settle().await.unwrap();

    for latest in 2..9 {
        let late = record(latest % 10, latest - 3, -latest);
        keep(&store, std::slice::from_ref(&late)).await;
        kept.push(late);
        for ascending in [true, false] {
            let query = ReadingQuery { not_after: Some(at(latest)), ..query(None, None, ascending) };
            let (found, _) = all(7, async |page| store.readings(&query, &page).await.unwrap()).await;

            let mut expected: Vec<_> = kept.iter().filter(|r| r.taken_at <= at(latest)).cloned().collect();
            expected.sort_by_key(|r| (r.taken_at, r.module_id.clone()));
            if !ascending {
                expected.reverse();
            }
            assert!(found == expected, "{query:?}");
        }
    }
}
