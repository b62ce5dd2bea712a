//! Channels: several series of one type in a module.

use std::{sync::Arc, time::Duration};

use iotpi_core::{
    Channel, ModuleId, Quantity, Reading, Sample, SensorType, Timestamp, Unit,
    model::{
        gap::{GapReason, NewGap, SeriesGap},
        reading::{Bucket, ChannelFilter, SeqNo},
    },
};

use super::{MAX_SERIES, after, all_pages, module, page, start};
use crate::store::{GapQuery, ReadingQuery, SeriesKey, Store, StoreError};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(start().as_micros() + secs * 1_000_000)
}

fn channel(name: &str) -> Option<Channel> {
    (!name.is_empty()).then(|| Channel::new(name).unwrap())
}

/// A reading of a channel, or of the default one for an empty name.
fn temperature(of: &str, on: &str, secs: i64, value: f64) -> Reading {
    let mut sample = Sample::new(Quantity::Temperature, value);
    sample.channel = channel(on);
    Reading::new(module(of), sample, at(secs)).with_received_at(after(0).wall)
}

fn key(of: &str, on: &str) -> SeriesKey {
    SeriesKey { module_id: module(of), sensor: Quantity::Temperature.name(), channel: channel(on) }
}

fn query(module_id: Option<ModuleId>, channel: Option<ChannelFilter>) -> ReadingQuery {
    ReadingQuery {
        sensor: Quantity::Temperature.name(),
        module_id,
        channel,
        since: None,
        until: None,
        not_after: None,
        ascending: false,
    }
}

async fn record(store: &Arc<dyn Store>, readings: &[Reading]) {
    store.record(readings.to_vec(), MAX_SERIES, after(0)).await.unwrap();
}

pub async fn each_channel_of_a_type_is_a_series(store: Arc<dyn Store>) {
    let newest = ["", "return", "supply"].map(|on| temperature("boiler", on, 9, on.len() as f64));
    record(&store, &newest).await;
    record(&store, &[temperature("boiler", "supply", 3, 1.0)]).await;

    let keys = ["", "return", "supply"].map(|on| key("boiler", on));
    assert_eq!(store.series().await.unwrap(), keys);
    assert_eq!(store.units(&keys).await.unwrap(), [const { Some(Unit::CELSIUS) }; 3]);
    assert_eq!(store.units(&[key("boiler", "unknown")]).await.unwrap(), [None]);
    let (listed, _) = all_pages(1, async |page| store.newest(None, None, &page).await.unwrap()).await;
    assert_eq!(listed, newest);
    for (key, count) in keys.iter().zip([1, 1, 2]) {
        let recent = store.recent(key, 10, None).await.unwrap();
        assert_eq!(recent.len(), count, "{key:?}");
        assert!(recent.iter().all(|reading| reading.channel == key.channel), "{key:?}");
    }
}

pub async fn the_channels_of_a_custom_type_may_have_different_units(store: Arc<dyn Store>) {
    let soil = |on: &str, unit: &str| {
        let name = SensorType::new("soil").unwrap();
        let mut reading = temperature("garden", on, 1, 5.0);
        reading.quantity = Quantity::Custom { name, unit: Unit::parse(unit).unwrap() };
        reading
    };
    record(&store, &[soil("", "percent"), soil("north", "volt")]).await;

    let refused = store.record(vec![soil("north", "percent")], MAX_SERIES, after(0)).await;

    assert!(matches!(refused, Err(StoreError::OtherUnit { index: 0, .. })), "{refused:?}");
}

/// Readings of four modules with up to three channels, some at the same moment.
fn many() -> Vec<Reading> {
    let channels = ["", "a", "b"];
    let of_module = |n: i64| {
        channels[..usize::try_from(n % 3 + 1).unwrap()].iter().flat_map(move |on| {
            (0..6).map(move |secs| {
                temperature(&format!("m{n}"), on, secs * (n % 2 + 1), (100 * n + secs) as f64)
            })
        })
    };
    (0..4).flat_map(of_module).collect()
}

/// All combinations of filters by module and channel.
fn filters() -> impl Iterator<Item = ReadingQuery> {
    let modules = [None, Some(module("m0")), Some(module("m2")), Some(module("unknown"))];
    let channels = [
        None,
        Some(ChannelFilter::Default),
        Some(ChannelFilter::Only(channel("b").unwrap())),
        Some(ChannelFilter::Only(channel("unknown").unwrap())),
    ];
    modules.into_iter().flat_map(move |of| channels.clone().map(|on| query(of.clone(), on)))
}

fn matches(query: &ReadingQuery, reading: &Reading) -> bool {
    query.module_id.as_ref().is_none_or(|module| reading.module_id == *module)
        && query.channel.as_ref().is_none_or(|only| only.matches(reading.channel.as_ref()))
}

async fn assert_pages(store: &Arc<dyn Store>, stored: &[Reading]) {
    for query in filters() {
        for ascending in [true, false] {
            let query = ReadingQuery { ascending, ..query.clone() };
            let mut expected: Vec<_> = stored.iter().filter(|r| matches(&query, r)).cloned().collect();
            expected.sort_by_key(|r| (r.taken_at, r.module_id.clone(), r.channel.clone()));
            if !ascending {
                expected.reverse();
            }
            for limit in [1, 4, 1000] {
                let (found, _) =
                    all_pages(limit, async |page| store.readings(&query, &page).await.unwrap()).await;
                assert!(found == expected, "{query:?} by {limit}");
            }
        }
    }
}

pub async fn readings_are_filtered_by_channel_in_pages_of_every_size(store: Arc<dyn Store>) {
    let stored = many();
    record(&store, &stored).await;

    assert_pages(&store, &stored).await;
    store.compact().await.unwrap();
    assert_pages(&store, &stored).await;
}

pub async fn buckets_are_filtered_by_channel_in_pages_of_every_size(store: Arc<dyn Store>) {
    const WIDTH: i64 = 2;
    let stored = many();
    record(&store, &stored).await;

    for is_compacted in [false, true] {
        if is_compacted {
            store.compact().await.unwrap();
        }
        for query in filters() {
            let bucket = |r: &Reading| {
                let us = r.taken_at.as_micros();
                (us - us.rem_euclid(WIDTH * 1_000_000), r.module_id.clone(), r.channel.clone())
            };
            let mut expected: Vec<_> = stored.iter().filter(|r| matches(&query, r)).map(bucket).collect();
            expected.sort();
            let counts: Vec<_> =
                expected.chunk_by(|a, b| a == b).map(|same| (same[0].clone(), same.len() as u64)).collect();
            let width = Duration::from_secs(WIDTH.unsigned_abs());
            for limit in [1, 4, 1000] {
                let (found, _) =
                    all_pages(limit, async |page| store.buckets(&query, width, &page).await.unwrap()).await;
                let row = |b: Bucket| ((b.start.as_micros(), b.module_id, b.channel), b.count.unwrap());
                let found: Vec<_> = found.into_iter().map(row).collect();
                assert_eq!(found, counts, "{query:?} by {limit}");
            }
        }
    }
}

pub async fn gaps_and_delivery_accounts_are_kept_for_each_channel(store: Arc<dyn Store>) {
    let numbered =
        |on: &str, seq: u64| temperature("boiler", on, 1, 1.0).with_number(SeqNo { epoch: 7, seq });
    record(&store, &[numbered("", 1), numbered("supply", 2), numbered("supply", 3)]).await;
    let lost = |on: &str, lost: u64| {
        let mut gap = SeriesGap::new(Quantity::Temperature, lost, at(4), at(9));
        gap.channel = channel(on);
        gap
    };
    let gap = NewGap::new(7, 4, 9, GapReason::Full).with_series(vec![lost("", 1), lost("supply", 3)]);
    store.record_gap(&module("boiler"), &gap, after(20)).await.unwrap();

    let account = store.delivery(&module("boiler")).await.unwrap();
    let rows: Vec<_> = account.series.iter().map(|s| (s.channel.clone(), s.received, s.lost)).collect();
    assert_eq!(rows, [(None, 1, 1), (channel("supply"), 2, 3)]);

    let found = async |on: Option<ChannelFilter>| {
        let query = GapQuery { channel: on, ..GapQuery::default() };
        let gaps = store.gaps(&query, &page(10)).await.unwrap().items;
        gaps.into_iter().map(|gap| (gap.kind.is_some(), gap.channel, gap.lost)).collect::<Vec<_>>()
    };
    let (default, supply, unknown) = ((true, None, 1), (true, channel("supply"), 3), (false, None, 2));
    assert_eq!(found(None).await, [default.clone(), supply.clone(), unknown.clone()]);
    assert_eq!(found(Some(ChannelFilter::Default)).await, [default, unknown.clone()]);
    assert_eq!(found(Some(channel("supply").into())).await, [supply, unknown]);
}

pub async fn removing_a_module_removes_all_its_channels(store: Arc<dyn Store>) {
    let stored = many();
    record(&store, &stored).await;
    assert_pages(&store, &stored).await;

    store.remove_module(&module("m2")).await.unwrap();

    let rest: Vec<_> = stored.into_iter().filter(|reading| reading.module_id != module("m2")).collect();
    assert_pages(&store, &rest).await;
    record(&store, &[temperature("m2", "b", 1, 1.0)]).await;
    assert_eq!(store.recent(&key("m2", "b"), 10, None).await.unwrap().len(), 1);
    assert_eq!(store.recent(&key("m2", "a"), 10, None).await.unwrap(), []);
}
