//! Readings and series: writing, queries, pages and buckets.

use std::{sync::Arc, time::Duration};

use iotpi_core::{Outcome, Quantity, Reading, Sample, SensorType, Timestamp, Unit};

use super::{MAX_SERIES, after, all_pages, module, page, start};
use crate::store::{PageRequest, ReadingQuery, Recorded, SeriesKey, Store, StoreError};

fn sensor(name: &str) -> SensorType {
    SensorType::new(name).unwrap()
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(start().as_micros() + secs * 1_000_000)
}

fn temperature(of: &str, secs: i64, value: f64) -> Reading {
    Reading::new(module(of), Sample::new(Quantity::Temperature, value), at(secs))
        .with_received_at(at(secs + 1))
}

/// A reading without a value.
fn no_data(of: &str, secs: i64, reason: &str) -> Reading {
    temperature(of, secs, 0.0).with_outcome(Outcome::no_data(reason))
}

fn custom(of: &str, name: &str, unit: &str, value: f64) -> Reading {
    let mut reading = temperature(of, 0, value);
    reading.quantity = Quantity::Custom { name: sensor(name), unit: Unit::parse(unit).unwrap() };
    reading
}

fn query(name: &str) -> ReadingQuery {
    ReadingQuery {
        sensor: sensor(name),
        module_id: None,
        channel: None,
        since: None,
        until: None,
        not_after: None,
        ascending: false,
    }
}

async fn record(store: &Arc<dyn Store>, readings: &[Reading]) {
    store.record(readings.to_vec(), MAX_SERIES, after(0)).await.unwrap();
}

async fn first_page(store: &Arc<dyn Store>, query: &ReadingQuery) -> Vec<Reading> {
    store.readings(query, &page(1000)).await.unwrap().items
}

fn values(readings: &[Reading]) -> Vec<f64> {
    readings.iter().filter_map(|reading| reading.outcome.value()).collect()
}

pub async fn a_reading_is_returned_as_it_was_recorded(store: Arc<dyn Store>) {
    let recorded = [
        temperature("attic", 0, -12.345_678_9),
        no_data("attic", 1, "no answer from 0x76"),
        custom("attic", "soil-moisture", "bunches", f64::MAX),
    ];

    record(&store, &recorded).await;

    assert_eq!(first_page(&store, &query("temperature")).await, [recorded[1].clone(), recorded[0].clone()]);
    assert_eq!(first_page(&store, &query("soil-moisture")).await, [recorded[2].clone()]);
    assert_eq!(first_page(&store, &query("pressure")).await, []);
}

pub async fn a_value_that_is_not_finite_is_stored_as_no_data(store: Arc<dyn Store>) {
    record(&store, &[temperature("attic", 0, f64::NAN), temperature("attic", 1, f64::INFINITY)]).await;

    let stored = first_page(&store, &query("temperature")).await;

    assert_eq!(stored.len(), 2);
    assert!(stored.iter().all(|reading| matches!(reading.outcome, Outcome::NoData(_))), "{stored:?}");
}

pub async fn unknown_modules_are_created_and_returned_once(store: Arc<dyn Store>) {
    let batch =
        vec![temperature("attic", 0, 1.0), temperature("cellar", 0, 1.0), temperature("attic", 1, 1.0)];

    let first = store.record(batch.clone(), MAX_SERIES, after(7)).await.unwrap();
    let second = store.record(batch, MAX_SERIES, after(8)).await.unwrap();

    assert_eq!(first.new_modules, [module("attic"), module("cellar")]);
    assert_eq!(second, Recorded::default());
    let attic = store.module(&module("attic")).await.unwrap().unwrap();
    assert_eq!(attic.registered_at, after(7).wall);
    assert_eq!((attic.manifest, attic.last_seen_at, attic.state), (None, None, None));
}

pub async fn a_batch_is_stored_completely_or_not_at_all(store: Arc<dyn Store>) {
    record(&store, &[custom("attic", "soil", "bunches", 1.0)]).await;

    let refused = store
        .record(
            vec![
                temperature("attic", 0, 1.0),
                temperature("cellar", 0, 1.0),
                custom("attic", "soil", "bananas", 1.0),
            ],
            MAX_SERIES,
            after(0),
        )
        .await;

    assert!(matches!(refused, Err(StoreError::OtherUnit { index: 2, .. })), "{refused:?}");
    assert_eq!(first_page(&store, &query("temperature")).await, []);
    assert_eq!(first_page(&store, &query("soil")).await.len(), 1);
    assert_eq!(store.module(&module("cellar")).await.unwrap(), None);
    assert_eq!(store.series().await.unwrap().len(), 1);
}

pub async fn a_reading_in_another_unit_than_its_series_is_refused(store: Arc<dyn Store>) {
    let bunches = Unit::parse("bunches").unwrap();
    record(&store, &[custom("attic", "soil", "bunches", 1.0), custom("cellar", "soil", "bananas", 1.0)])
        .await;

    let refused = store.record(vec![custom("attic", "soil", "bananas", 1.0)], MAX_SERIES, after(0)).await;

    assert!(matches!(refused, Err(StoreError::OtherUnit { index: 0, unit }) if unit == bunches));
    let key = |of| SeriesKey { module_id: module(of), sensor: sensor("soil"), channel: None };
    assert_eq!(store.series().await.unwrap(), [key("attic"), key("cellar")]);
    let units = store.units(&[key("cellar"), key("roof"), key("attic")]).await.unwrap();
    assert_eq!(units, [Some(Unit::parse("bananas").unwrap()), None, Some(bunches)]);
}

pub async fn the_number_of_series_is_limited(store: Arc<dyn Store>) {
    let record = async |readings| store.record(readings, 2, after(0)).await;
    record(vec![temperature("a", 0, 1.0), temperature("b", 0, 1.0)]).await.unwrap();

    let refused = record(vec![temperature("a", 1, 1.0), temperature("c", 1, 1.0)]).await;

    assert!(matches!(refused, Err(StoreError::LimitReached { limit: 2, .. })), "{refused:?}");
    assert_eq!(store.module(&module("c")).await.unwrap(), None);
    record(vec![temperature("a", 2, 1.0), temperature("b", 2, 1.0)]).await.unwrap();
}

pub async fn readings_are_filtered_by_module_and_time(store: Arc<dyn Store>) {
    for secs in 0..5 {
        let value = f64::from(i32::try_from(secs).unwrap());
        record(&store, &[temperature("attic", secs, value), temperature("cellar", secs, 10.0 + value)]).await;
    }

    let attic = ReadingQuery { module_id: Some(module("attic")), ..query("temperature") };
    let since = ReadingQuery { since: Some(at(3)), ..attic.clone() };
    let until = ReadingQuery { until: Some(at(3)), ..attic.clone() };
    let between = ReadingQuery { since: Some(at(1)), until: Some(at(2)), ..query("temperature") };
    let unknown = ReadingQuery { module_id: Some(module("unknown")), ..query("temperature") };

    assert_eq!(values(&first_page(&store, &attic).await), [4.0, 3.0, 2.0, 1.0, 0.0]);
    assert_eq!(values(&first_page(&store, &since).await), [4.0, 3.0], "since is inclusive");
    assert_eq!(values(&first_page(&store, &until).await), [2.0, 1.0, 0.0], "until is exclusive");
    assert_eq!(values(&first_page(&store, &between).await), [11.0, 1.0]);
    assert_eq!(first_page(&store, &unknown).await, []);
}

pub async fn readings_of_one_microsecond_are_ordered_by_module_then_arrival(store: Arc<dyn Store>) {
    record(&store, &[temperature("attic", 0, 1.0), temperature("attic", 0, 2.0)]).await;
    record(&store, &[temperature("cellar", 0, 3.0)]).await;
    record(&store, &[temperature("attic", 0, 4.0)]).await;

    let ascending = ReadingQuery { ascending: true, ..query("temperature") };

    assert_eq!(values(&first_page(&store, &ascending).await), [1.0, 2.0, 4.0, 3.0]);
    assert_eq!(values(&first_page(&store, &query("temperature")).await), [3.0, 4.0, 2.0, 1.0]);
}

pub async fn readings_are_paged_in_ascending_and_descending_order(store: Arc<dyn Store>) {
    let recorded: Vec<_> =
        (0..21).map(|n: i64| temperature(["a", "b", "c"][n as usize % 3], n / 2, n as f64)).collect();
    record(&store, &recorded).await;

    for (limit, sizes) in [(1, vec![1; 21]), (4, vec![4, 4, 4, 4, 4, 1]), (7, vec![7; 3]), (1000, vec![21])] {
        for ascending in [true, false] {
            let query = ReadingQuery { ascending, ..query("temperature") };

            let (found, pages) =
                all_pages(limit, async |page| store.readings(&query, &page).await.unwrap()).await;

            let mut expected = recorded.clone();
            expected.sort_by_key(|reading| (reading.taken_at, reading.module_id.clone()));
            let mut expected = values(&expected);
            if !ascending {
                expected.reverse();
            }
            assert_eq!(values(&found), expected, "limit {limit}");
            assert_eq!(pages, sizes, "limit {limit}");
        }
    }
}

pub async fn a_cursor_continues_in_order_after_new_readings_arrived(store: Arc<dyn Store>) {
    record(&store, &[1, 2, 3, 4].map(|n| temperature("attic", n, n as f64))).await;
    let first = store.readings(&query("temperature"), &page(2)).await.unwrap();

    record(&store, &[temperature("attic", 5, 5.0), temperature("attic", 0, 0.0)]).await;
    let second = PageRequest { limit: 10, cursor: first.next };
    let second = store.readings(&query("temperature"), &second).await.unwrap();

    assert_eq!(values(&first.items), [4.0, 3.0]);
    assert_eq!(values(&second.items), [2.0, 1.0, 0.0]);
    assert_eq!(second.next, None);
}

pub async fn a_cursor_of_another_list_is_refused(store: Arc<dyn Store>) {
    record(&store, &[temperature("a", 0, 1.0), temperature("a", 1, 1.0), temperature("b", 0, 1.0)]).await;
    let whole = query("temperature");
    let cursor = store.readings(&whole, &page(1)).await.unwrap().next.unwrap();
    let with = |cursor: &str| PageRequest { limit: 1, cursor: Some(cursor.to_owned()) };

    assert!(store.readings(&whole, &with(&cursor)).await.is_ok());
    for other in [
        query("pressure"),
        ReadingQuery { module_id: Some(module("a")), ..whole.clone() },
        ReadingQuery { since: Some(at(0)), ..whole.clone() },
        ReadingQuery { until: Some(at(9)), ..whole.clone() },
        ReadingQuery { ascending: true, ..whole.clone() },
    ] {
        let result = store.readings(&other, &with(&cursor)).await;
        assert!(matches!(result, Err(StoreError::BadCursor)), "{other:?}: {result:?}");
    }
    let minute = Duration::from_secs(60);
    assert!(matches!(store.buckets(&whole, minute, &with(&cursor)).await, Err(StoreError::BadCursor)));
    assert!(matches!(store.newest(None, None, &with(&cursor)).await, Err(StoreError::BadCursor)));
    assert!(matches!(store.modules(&with(&cursor)).await, Err(StoreError::BadCursor)));
    let half = &cursor[..cursor.len() / 2];
    for invalid in ["", "x", "0", "%00", "🙂", half, &format!("{cursor}00")] {
        let result = store.readings(&whole, &with(invalid)).await;
        assert!(matches!(result, Err(StoreError::BadCursor)), "{invalid}: {result:?}");
    }
}

pub async fn the_newest_reading_of_each_series_is_chosen_by_taken_at(store: Arc<dyn Store>) {
    // The reading that arrived last is not the newest: an outbox may deliver late.
    let newest = [
        temperature("attic", 9, 1.0),
        custom("cellar", "soil", "bunches", 2.0).with_taken_at(at(9)),
        no_data("cellar", 9, "unplugged"),
    ];
    record(&store, &newest).await;
    let older = newest.clone().map(|reading| reading.with_taken_at(at(3)));
    record(&store, &older).await;

    let (found, pages) = all_pages(1, async |page| store.newest(None, None, &page).await.unwrap()).await;
    let of_cellar = store.newest(Some(&module("cellar")), None, &page(10)).await.unwrap();

    assert_eq!(found, newest);
    assert_eq!(pages, [1, 1, 1]);
    assert_eq!(of_cellar.items, newest[1..]);
    assert_eq!(store.newest(Some(&module("unknown")), None, &page(10)).await.unwrap().items, []);
}

pub async fn recent_readings_of_a_series_are_ordered_oldest_first(store: Arc<dyn Store>) {
    record(&store, &[3, 1, 4, 2].map(|n| temperature("attic", n, n as f64))).await;
    record(&store, &[temperature("cellar", 5, 5.0)]).await;
    let recent = async |of, count| {
        let series = SeriesKey { module_id: module(of), sensor: sensor("temperature"), channel: None };
        values(&store.recent(&series, count, None).await.unwrap())
    };

    assert_eq!(recent("attic", 3).await, [2.0, 3.0, 4.0]);
    assert_eq!(recent("attic", 100).await, [1.0, 2.0, 3.0, 4.0]);
    assert!(recent("attic", 0).await.is_empty());
    assert!(recent("unknown", 3).await.is_empty());
}

const MINUTE: Duration = Duration::from_secs(60);

/// The beginning of the UTC day of [`start`], in seconds after [`start`].
fn midnight() -> i64 {
    -(start().as_micros() / 1_000_000).rem_euclid(86_400)
}

pub async fn readings_are_aggregated_into_buckets(store: Arc<dyn Store>) {
    let day = midnight();
    record(&store, &[temperature("attic", day, 1.0), temperature("attic", day + 59, 4.0)]).await;
    record(&store, &[no_data("attic", day + 30, "no answer"), no_data("attic", day + 180, "no answer")])
        .await;
    record(&store, &[temperature("attic", day + 60, -7.5)]).await;

    let found = store.buckets(&query("temperature"), MINUTE, &page(10)).await.unwrap();
    let days = store.buckets(&query("temperature"), Duration::from_secs(86_400), &page(10)).await.unwrap();

    let rows: Vec<_> =
        found.items.iter().map(|b| (b.start, b.avg, b.min, b.max, b.count, b.missing)).collect();
    assert_eq!(
        rows,
        [
            (at(day), Some(2.5), Some(1.0), Some(4.0), Some(2), 1),
            (at(day + 60), Some(-7.5), Some(-7.5), Some(-7.5), Some(1), 0),
            (at(day + 180), None, None, None, Some(0), 1),
        ]
    );
    assert!(found.items.iter().all(|b| b.unit == Unit::CELSIUS && b.kind == sensor("temperature")));
    assert_eq!(days.items.len(), 1);
    assert_eq!((days.items[0].start, days.items[0].count, days.items[0].missing), (at(day), Some(3), 2));
}

pub async fn buckets_are_paged_by_start_then_module(store: Arc<dyn Store>) {
    let day = midnight();
    // Close together and far apart, so that an engine that searches in steps must find both.
    let minutes = [0, 1, 2, 3, 60 * 24 * 400, 60 * 24 * 400 + 1];
    for minute in minutes {
        record(&store, &["c", "a", "b"].map(|of| temperature(of, day + 60 * minute, 1.0))).await;
    }
    let expected: Vec<_> =
        minutes.iter().flat_map(|m| ["a", "b", "c"].map(|of| (at(day + 60 * m), module(of)))).collect();

    for limit in [1, 2, 3, 5, 17, 18, 1000] {
        let whole = query("temperature");
        let (found, pages) =
            all_pages(limit, async |page| store.buckets(&whole, MINUTE, &page).await.unwrap()).await;

        let found: Vec<_> = found.into_iter().map(|bucket| (bucket.start, bucket.module_id)).collect();
        assert_eq!(found, expected, "limit {limit}");
        assert_eq!(pages.len(), 18_usize.div_ceil(limit as usize), "limit {limit}");
    }
}

pub async fn buckets_contain_only_readings_of_the_queried_range(store: Arc<dyn Store>) {
    let day = midnight();
    record(&store, &[0, 30, 60, 90, 120].map(|secs| temperature("attic", day + secs, secs as f64))).await;
    let part = ReadingQuery { since: Some(at(day + 30)), until: Some(at(day + 90)), ..query("temperature") };

    let found = store.buckets(&part, MINUTE, &page(10)).await.unwrap().items;

    let rows: Vec<_> = found.iter().map(|b| (b.start, b.min, b.max)).collect();
    assert_eq!(rows, [(at(day), Some(30.0), Some(30.0)), (at(day + 60), Some(60.0), Some(60.0))]);
}

/// A clock that was ahead took some of these readings. A query with a latest time ignores them.
pub async fn readings_after_the_latest_time_do_not_hide_earlier_ones(store: Arc<dyn Store>) {
    record(&store, &[temperature("attic", 100, 99.0), temperature("attic", 1, 1.0)]).await;
    record(&store, &[temperature("cellar", 200, 98.0)]).await;
    record(&store, &[temperature("attic", 2, 2.0), temperature("attic", 3, 3.0)]).await;
    let latest = Some(at(10));
    let series = SeriesKey { module_id: module("attic"), sensor: sensor("temperature"), channel: None };

    let newest = store.newest(None, latest, &page(10)).await.unwrap().items;
    let without_latest = store.newest(None, None, &page(10)).await.unwrap().items;
    let recent = store.recent(&series, 2, latest).await.unwrap();
    let query = ReadingQuery { not_after: latest, ..query("temperature") };
    let first = store.readings(&query, &page(2)).await.unwrap();
    // Time advances between two pages.
    let later = ReadingQuery { not_after: Some(at(11)), ..query.clone() };
    let next = PageRequest { limit: 2, cursor: first.next.clone() };
    let second = store.readings(&later, &next).await.unwrap();
    let of_attic = ReadingQuery { module_id: Some(module("attic")), ..query.clone() };
    let of_attic = store.readings(&of_attic, &page(10)).await.unwrap().items;
    let unlimited = ReadingQuery { not_after: None, until: Some(at(1000)), ..query.clone() };
    let unlimited = store.readings(&unlimited, &page(10)).await.unwrap().items;
    let buckets = store.buckets(&query, Duration::from_secs(1), &page(10)).await.unwrap().items;

    assert_eq!(values(&newest), [3.0]);
    assert_eq!(values(&without_latest), [99.0, 98.0]);
    assert_eq!(values(&recent), [2.0, 3.0]);
    assert_eq!((values(&first.items), values(&second.items)), (vec![3.0, 2.0], vec![1.0]));
    assert_eq!(values(&of_attic), [3.0, 2.0, 1.0]);
    assert_eq!(values(&unlimited), [98.0, 99.0, 3.0, 2.0, 1.0]);
    assert_eq!(buckets.iter().filter_map(|b| b.avg).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
}
