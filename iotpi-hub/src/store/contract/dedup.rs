//! Numbered readings: de-duplication by sequence number, gaps and the delivery account.

use std::sync::Arc;

use iotpi_core::{
    Quantity, Reading, Sample, SensorType, Timestamp, Unit,
    model::{
        gap::{Delivery, Gap, GapReason, NewGap, SeriesDelivery, SeriesGap},
        reading::SeqNo,
    },
};

use super::{MAX_SERIES, after, module, page, start};
use crate::store::{GapQuery, ReadingQuery, Recorded, Store, StoreError};

const EPOCH: u64 = 77;

fn at(seq: u64) -> Timestamp {
    Timestamp::from_micros(start().as_micros() + i64::try_from(seq).unwrap() * 1_000_000)
}

fn numbered(of: &str, epoch: u64, seq: u64) -> Reading {
    let value = f64::from(u32::try_from(seq).unwrap());
    let sample = Sample::new(Quantity::Temperature, value);
    Reading::new(module(of), sample, at(seq)).with_number(SeqNo { epoch, seq })
}

async fn record(store: &Arc<dyn Store>, readings: &[Reading]) -> Recorded {
    store.record(readings.to_vec(), MAX_SERIES, after(0)).await.unwrap()
}

async fn deliver(store: &Arc<dyn Store>, of: &str, seqs: impl IntoIterator<Item = u64>) -> Recorded {
    record(store, &seqs.into_iter().map(|seq| numbered(of, EPOCH, seq)).collect::<Vec<_>>()).await
}

async fn stored_values(store: &Arc<dyn Store>) -> Vec<f64> {
    let sensor = Quantity::Temperature.name();
    let query = ReadingQuery {
        sensor,
        module_id: None,
        channel: None,
        since: None,
        until: None,
        not_after: None,
        ascending: true,
    };
    let readings = store.readings(&query, &page(1000)).await.unwrap().items;
    assert!(readings.iter().all(|reading| reading.number.is_none()));
    readings.iter().filter_map(|reading| reading.outcome.value()).collect()
}

/// The numbers of expected, received, lost and missing readings of a module.
async fn total(store: &Arc<dyn Store>, of: &str) -> Option<(u64, u64, u64, u64)> {
    let total = store.delivery(&module(of)).await.unwrap().total;
    total.map(|Delivery { expected, received, lost, missing, .. }| (expected, received, lost, missing))
}

/// A gap of which `lost` readings are known to be temperatures.
fn gap(first_seq: u64, last_seq: u64, lost: u64) -> NewGap {
    let series = SeriesGap::new(Quantity::Temperature, lost, at(first_seq), at(last_seq));
    NewGap::new(EPOCH, first_seq, last_seq, GapReason::Full).with_series(vec![series])
}

pub async fn a_numbered_reading_is_stored_once(store: Arc<dyn Store>) {
    deliver(&store, "attic", 1..=3).await;

    let repeated = deliver(&store, "attic", [3, 2, 4]).await;
    let within_batch = deliver(&store, "attic", [5, 5]).await;

    assert_eq!((repeated.repeated, within_batch.repeated), (vec![0, 1], vec![1]));
    assert_eq!(stored_values(&store).await, [1.0, 2.0, 3.0, 4.0, 5.0]);
}

pub async fn a_sequence_number_is_unique_only_within_its_module_and_epoch(store: Arc<dyn Store>) {
    let readings = [numbered("attic", 1, 1), numbered("cellar", 1, 1), numbered("attic", 2, 1)];

    let recorded = record(&store, &readings).await;

    assert!(recorded.repeated.is_empty());
    assert_eq!(stored_values(&store).await.len(), 3);
}

pub async fn readings_without_sequence_numbers_are_never_deduplicated(store: Arc<dyn Store>) {
    let mut unnumbered = numbered("attic", EPOCH, 1);
    unnumbered.number = None;

    record(&store, &[unnumbered.clone(), unnumbered.clone()]).await;
    record(&store, &[unnumbered]).await;

    assert_eq!(stored_values(&store).await, [1.0, 1.0, 1.0]);
    assert_eq!(total(&store, "attic").await, None);
}

pub async fn sequence_numbers_of_a_refused_batch_are_not_recorded(store: Arc<dyn Store>) {
    deliver(&store, "attic", [1]).await;
    let refused =
        store.record(vec![numbered("attic", EPOCH, 2), numbered("cellar", EPOCH, 1)], 1, after(0)).await;
    assert!(matches!(refused, Err(StoreError::LimitReached { .. })), "{refused:?}");

    let recorded = deliver(&store, "attic", [2]).await;

    assert!(recorded.repeated.is_empty());
    assert_eq!(stored_values(&store).await, [1.0, 2.0]);
    assert_eq!(total(&store, "cellar").await, None);
}

pub async fn a_backlog_delivered_after_newer_readings_fills_the_missing_numbers(store: Arc<dyn Store>) {
    deliver(&store, "attic", 1..=3).await;
    deliver(&store, "attic", [9, 10]).await;
    assert_eq!(total(&store, "attic").await, Some((10, 5, 0, 5)));

    deliver(&store, "attic", 3..=8).await;

    assert_eq!(total(&store, "attic").await, Some((10, 10, 0, 0)));
    assert_eq!(stored_values(&store).await, (1..=10).map(f64::from).collect::<Vec<_>>());
}

pub async fn every_sequence_number_is_counted_as_received_lost_or_missing(store: Arc<dyn Store>) {
    deliver(&store, "attic", [1, 2, 8, 12]).await;

    store.record_gap(&module("attic"), &gap(3, 5, 2), after(9)).await.unwrap();

    assert_eq!(total(&store, "attic").await, Some((12, 4, 3, 5)));
    let account = store.delivery(&module("attic")).await.unwrap();
    assert_eq!(account.total.unwrap().since, after(0).wall);
    let kind = Quantity::Temperature.name();
    assert_eq!(account.series, [SeriesDelivery::new(kind, None, 4, 2)]);
    assert_eq!(account.series[0].expected, 6);
    let attic = store.module(&module("attic")).await.unwrap().unwrap();
    assert_eq!(attic.delivery, account.total);
    assert_eq!(store.modules(&page(10)).await.unwrap().items, [attic]);
}

pub async fn a_reading_that_arrives_after_its_gap_is_not_counted_as_lost(store: Arc<dyn Store>) {
    store.record_gap(&module("attic"), &gap(1, 4, 4), after(0)).await.unwrap();
    assert_eq!(total(&store, "attic").await, Some((4, 0, 4, 0)));

    deliver(&store, "attic", [2, 3]).await;

    assert_eq!(total(&store, "attic").await, Some((4, 2, 2, 0)));
}

pub async fn a_gap_is_listed_once_for_each_series_and_once_for_unknown_series(store: Arc<dyn Store>) {
    let first = store.record_gap(&module("attic"), &gap(3, 9, 5), after(20)).await.unwrap();
    let repeated = store.record_gap(&module("attic"), &gap(3, 9, 5), after(21)).await.unwrap();

    let gaps = store.gaps(&GapQuery::default(), &page(10)).await.unwrap().items;

    assert_eq!((first, repeated), (true, false), "whether the module is new");
    let listed = |lost| Gap::new(module("attic"), at(3), at(9), lost, GapReason::Full, after(21).wall);
    assert_eq!(gaps, [listed(5).with_series(Quantity::Temperature.name(), None), listed(2)]);
}

pub async fn gaps_are_filtered_by_module_type_and_time(store: Arc<dyn Store>) {
    for (of, first) in [("attic", 1), ("attic", 11), ("cellar", 5)] {
        store.record_gap(&module(of), &gap(first, first + 3, 4), after(20)).await.unwrap();
    }
    let found = async |query: GapQuery| {
        let gaps = super::all_pages(1, async |page| store.gaps(&query, &page).await.unwrap()).await.0;
        gaps.into_iter().map(|gap| gap.since).collect::<Vec<_>>()
    };
    let any = GapQuery::default();

    assert_eq!(found(any.clone()).await, [at(1), at(5), at(11)]);
    assert_eq!(found(GapQuery { module_id: Some(module("attic")), ..any.clone() }).await, [at(1), at(11)]);
    assert_eq!(found(GapQuery { since: Some(at(8)), ..any.clone() }).await, [at(5), at(11)]);
    assert_eq!(found(GapQuery { until: Some(at(11)), ..any.clone() }).await, [at(1), at(5)]);
    let pressure = GapQuery { sensor: Some(Quantity::Pressure.name()), ..any };
    assert_eq!(found(pressure).await, []);
}

pub async fn only_the_newest_gaps_of_a_module_are_stored(store: Arc<dyn Store>) {
    store.record_gap(&module("cellar"), &gap(1, 1, 1), after(0)).await.unwrap();
    let types: Vec<_> = (0..64).map(|i| SensorType::new(format!("t{i}")).unwrap()).collect();
    let with_all_types = |first: u64| {
        let lost = |kind: &SensorType| {
            let quantity = Quantity::new(kind.clone(), Unit::COUNT);
            SeriesGap::new(quantity, 1, at(first), at(first))
        };
        NewGap::new(EPOCH, first, first + 63, GapReason::Full).with_series(types.iter().map(lost).collect())
    };

    for n in 0..200 {
        store.record_gap(&module("attic"), &with_all_types(n * 100 + 1), after(0)).await.unwrap();
    }

    let query = GapQuery { module_id: Some(module("attic")), ..GapQuery::default() };
    let gaps = super::all_pages(1000, async |page| store.gaps(&query, &page).await.unwrap()).await.0;
    assert!((10_000..11_000).contains(&gaps.len()), "{}", gaps.len());
    assert_eq!((gaps[0].since > at(1), gaps[gaps.len() - 1].since), (true, at(199 * 100 + 1)));
    assert_eq!(total(&store, "attic").await.map(|(_, _, lost, _)| lost), Some(200 * 64));
    let other_module = GapQuery { module_id: Some(module("cellar")), ..query };
    assert_eq!(store.gaps(&other_module, &page(10)).await.unwrap().items.len(), 1);
}

pub async fn removing_a_module_deletes_its_gaps_and_sequence_numbers(store: Arc<dyn Store>) {
    deliver(&store, "attic", 1..=3).await;
    store.record_gap(&module("attic"), &gap(4, 4, 1), after(0)).await.unwrap();

    store.remove_module(&module("attic")).await.unwrap();

    assert_eq!(total(&store, "attic").await, None);
    assert_eq!(store.gaps(&GapQuery::default(), &page(10)).await.unwrap().items, []);
    assert!(deliver(&store, "attic", 1..=2).await.repeated.is_empty());
    assert_eq!(stored_values(&store).await, [1.0, 2.0]);
}

pub async fn epochs_too_old_for_deduplication_stay_in_the_delivery_account(store: Arc<dyn Store>) {
    for epoch in 1..=100 {
        record(&store, &[numbered("attic", epoch, 1), numbered("attic", epoch, 3)]).await;
    }

    assert_eq!(total(&store, "attic").await, Some((300, 200, 0, 100)));
    assert_eq!(record(&store, &[numbered("attic", 100, 1)]).await.repeated, [0]);
}
