//! Expiry, eviction, notes, verification and backups.

use std::{path::Path, sync::Arc, time::Duration};

use iotpi_core::{
    Quantity, Reading, Sample, Timestamp,
    model::gap::{GapReason, NewGap, SeriesGap},
};

use super::{MAX_SERIES, after, all_pages, bounded, interleave, module, page, start};
use crate::store::{
    Eviction, ExpiryPlan, GapQuery, ReadingQuery, SeriesExpiry, SeriesKey, Store, StoreError,
};

/// A reading that a module took `secs` seconds after the start.
fn reading(of: &str, secs: u64) -> Reading {
    let taken_at = start().plus(Duration::from_secs(secs));
    Reading::new(module(of), Sample::new(Quantity::Temperature, secs as f64), taken_at)
}

async fn record(store: &Arc<dyn Store>, of: &str, secs: impl Iterator<Item = u64>) {
    let readings: Vec<_> = secs.map(|secs| reading(of, secs)).collect();
    for batch in readings.chunks(1000) {
        store.record(batch.to_vec(), MAX_SERIES, after(7)).await.unwrap();
    }
    store.compact().await.unwrap();
}

/// The readings of a module, oldest first.
fn query(of: &str) -> ReadingQuery {
    ReadingQuery {
        sensor: Quantity::Temperature.name(),
        module_id: Some(module(of)),
        channel: None,
        since: None,
        until: None,
        not_after: None,
        ascending: true,
    }
}

/// The times of some readings, in seconds after the start.
fn times(readings: &[Reading]) -> Vec<u64> {
    readings.iter().map(|reading| reading.taken_at.since(start()).as_secs()).collect()
}

/// The times of all stored readings of a module.
async fn stored_times(store: &Arc<dyn Store>, of: &str) -> Vec<u64> {
    let query = query(of);
    times(&all_pages(1000, async |page| store.readings(&query, &page).await.unwrap()).await.0)
}

fn at(secs: u64) -> Option<Timestamp> {
    Some(start().plus(Duration::from_secs(secs)))
}

fn raw(before: Option<Timestamp>) -> ExpiryPlan {
    ExpiryPlan { raw_before: before, ..ExpiryPlan::default() }
}

/// The maximum number of readings that are deleted together. An old reading may remain while a newer one of
/// these is not old enough.
const MAX_DELETED_TOGETHER: u64 = 4096;

pub async fn expiry_deletes_old_readings_but_never_the_newest_of_a_series(store: Arc<dyn Store>) {
    record(&store, "attic", 0..10_000).await;
    record(&store, "shed", 0..3).await;

    let report = store.expire(&raw(at(5000)), false).await.unwrap();

    let attic = stored_times(&store, "attic").await;
    assert!(attic[0] <= 5000 && attic[0] > 5000 - MAX_DELETED_TOGETHER, "from {}", attic[0]);
    assert_eq!(attic, (attic[0]..10_000).collect::<Vec<_>>());
    assert!(
        stored_times(&store, "shed").await.ends_with(&[2]),
        "the newest reading of a series never expires"
    );
    assert_eq!((report.raw.deleted, report.raw.total), (attic[0], 10_003));
    assert_eq!(report.newest_at, at(7));
}

pub async fn a_dry_run_deletes_nothing_and_returns_the_same_counts(store: Arc<dyn Store>) {
    record(&store, "attic", 0..10_000).await;

    let planned = store.expire(&raw(at(6000)), true).await.unwrap();

    assert!(planned.raw.deleted > 6000 - MAX_DELETED_TOGETHER && planned.raw.total == 10_000, "{planned:?}");
    assert_eq!(stored_times(&store, "attic").await.len(), 10_000);
    assert_eq!(store.expire(&raw(at(6000)), false).await.unwrap().raw, planned.raw);
    assert_eq!(stored_times(&store, "attic").await.len() as u64, 10_000 - planned.raw.deleted);
}

pub async fn rollups_remain_after_their_readings_and_expire_separately(store: Arc<dyn Store>) {
    record(&store, "attic", 0..10_000).await;
    let query = ReadingQuery {
        sensor: Quantity::Temperature.name(),
        module_id: None,
        channel: None,
        since: None,
        until: None,
        not_after: None,
        ascending: true,
    };
    let minute = Duration::from_secs(60);
    let counted = async || {
        let (minutes, _) =
            all_pages(1000, async |page| store.buckets(&query, minute, &page).await.unwrap()).await;
        minutes.iter().filter_map(|bucket| bucket.count).sum::<u64>()
    };

    store.expire(&raw(at(9000)), false).await.unwrap();
    let before = counted().await;
    let plan = ExpiryPlan { minutes_before: at(5000), ..ExpiryPlan::default() };
    let report = store.expire(&plan, false).await.unwrap();

    assert_eq!(before, 10_000);
    let remaining = counted().await;
    assert!((5000..=5060).contains(&remaining), "{remaining}");
    assert!(
        report.minutes.deleted > 80 && report.minutes.total > 160 && report.raw.deleted == 0,
        "{report:?}"
    );
}

pub async fn gaps_expire_with_their_readings_and_their_numbers_stay_lost(store: Arc<dyn Store>) {
    let gap = |first_seq: u64, sensor: Option<Quantity>, until_secs: u64| {
        let until = start().plus(Duration::from_secs(until_secs));
        let series = sensor.into_iter().map(|of| SeriesGap::new(of, 10, start(), until));
        let last_seq = first_seq + 9;
        NewGap::new(7, first_seq, last_seq, GapReason::Full).with_series(series.collect())
    };
    let id = module("attic");
    let temperature = || Some(Quantity::Temperature);
    // Two gaps are old, one of them only by the hub's clock. One has no series, one is in readings that never
    // expire, and one is recent.
    store.record_gap(&id, &gap(1, temperature(), 100), after(100)).await.unwrap();
    store.record_gap(&id, &gap(11, temperature(), 1_000_000), after(200)).await.unwrap();
    store.record_gap(&id, &gap(21, None, 0), after(300)).await.unwrap();
    store.record_gap(&id, &gap(31, Some(Quantity::Humidity), 100), after(100)).await.unwrap();
    store.record_gap(&id, &gap(41, temperature(), 9_000), after(9_000)).await.unwrap();
    let rule = SeriesExpiry { module_id: None, sensor: Some(Quantity::Humidity.name()), raw_before: None };
    let plan = ExpiryPlan { series: vec![rule], ..raw(at(5_000)) };

    store.expire(&plan, true).await.unwrap();
    let before = store.gaps(&GapQuery::default(), &page(100)).await.unwrap().items.len();
    store.expire(&plan, false).await.unwrap();

    let remaining = store.gaps(&GapQuery::default(), &page(100)).await.unwrap().items;
    let kinds: Vec<_> = remaining.iter().map(|gap| gap.kind.clone()).collect();
    assert_eq!(before, 5, "a dry run deletes nothing");
    assert_eq!(kinds, [Some(Quantity::Humidity.name()), Some(Quantity::Temperature.name())]);
    let account = store.delivery(&id).await.unwrap().total.unwrap();
    assert_eq!((account.lost, account.missing), (50, 0));
}

pub async fn an_expiry_plan_without_a_time_deletes_nothing(store: Arc<dyn Store>) {
    record(&store, "attic", 0..10).await;

    let report = store.expire(&ExpiryPlan::default(), false).await.unwrap();

    assert_eq!((report.raw.deleted, report.raw.total), (0, 10));
    assert_eq!(stored_times(&store, "attic").await.len(), 10);
}

pub async fn the_first_expiry_rule_that_matches_a_series_applies(store: Arc<dyn Store>) {
    for of in ["attic", "cellar", "shed"] {
        record(&store, of, 0..10_000).await;
    }
    let rule = |of: &str, raw_before| SeriesExpiry { module_id: Some(module(of)), sensor: None, raw_before };
    let other = SeriesExpiry { sensor: Some(Quantity::Humidity.name()), ..rule("shed", at(9999)) };
    let plan =
        ExpiryPlan { series: vec![other, rule("attic", None), rule("cellar", at(9999))], ..raw(at(5000)) };

    store.expire(&plan, false).await.unwrap();

    let count = async |of| stored_times(&store, of).await.len() as u64;
    assert_eq!(count("attic").await, 10_000);
    assert!(count("cellar").await <= MAX_DELETED_TOGETHER);
    let shed = count("shed").await;
    assert!(
        (5000..5000 + MAX_DELETED_TOGETHER).contains(&shed),
        "a rule for another type does not apply: {shed} readings"
    );
}

pub async fn writes_are_acknowledged_between_the_steps_of_an_expiry(store: Arc<dyn Store>) {
    record(&store, "attic", 0..40_000).await;
    let (plan, attic) = (raw(at(39_999)), query("attic"));
    let oldest = async || times(&store.readings(&attic, &page(1)).await.unwrap().items)[0];
    let mut oldest_after_write = Vec::new();

    let write = async |n| {
        store.record(vec![reading("shed", n)], MAX_SERIES, after(7)).await.unwrap();
        oldest_after_write.push(oldest().await);
    };
    let (report, written) = bounded(interleave(store.expire(&plan, false), write)).await;

    assert!(report.unwrap().raw.deleted >= 40_000 - MAX_DELETED_TOGETHER);
    assert_eq!(stored_times(&store, "shed").await.len() as u64, written);
    // Writes were acknowledged when a part of the readings was deleted, so the expiry is not a single step.
    let end = oldest().await;
    oldest_after_write.retain(|oldest| (1..end).contains(oldest));
    oldest_after_write.dedup();
    assert!(oldest_after_write.len() > 1, "writes wait for the whole expiry: {oldest_after_write:?}");
}

pub async fn eviction_deletes_the_oldest_readings_first_and_ends(store: Arc<dyn Store>) {
    record(&store, "attic", 0..10_000).await;
    record(&store, "shed", 2000..12_000).await;
    let before = start().plus(Duration::from_secs(9000));

    let step = Eviction { before, spared_bytes: 0, most: 1 };
    assert_eq!(store.evict(step, after(7)).await.unwrap(), 1);
    let (attic, shed) = (stored_times(&store, "attic").await, stored_times(&store, "shed").await);
    assert!(
        attic.len() < 10_000 && attic.last() == Some(&9999),
        "the oldest readings are deleted, the newest is not"
    );
    assert_eq!(shed.len(), 10_000, "another series with newer readings is unchanged");

    evict_all(&store, step).await;
    for (of, end) in [("attic", 10_000), ("shed", 12_000)] {
        let first = stored_times(&store, of).await[0];
        assert!(first > 9000 - MAX_DELETED_TOGETHER && first <= 9000, "{of} from {first}");
        assert_eq!(stored_times(&store, of).await, (first..end).collect::<Vec<_>>());
    }
}

/// Evicts until nothing is left to evict.
async fn evict_all(store: &Arc<dyn Store>, eviction: Eviction) {
    let mut calls = 0;
    while store.evict(eviction, after(7)).await.unwrap() > 0 {
        calls += 1;
        assert!(calls < 10_000, "eviction ends");
    }
}

pub async fn a_note_is_stored_and_replaced(store: Arc<dyn Store>) {
    assert_eq!(store.note("wear").await.unwrap(), None);

    store.set_note("wear", "{}").await.unwrap();
    store.set_note("other", "[]").await.unwrap();
    store.set_note("wear", "{\"bytes\":1}").await.unwrap();

    assert_eq!(store.note("wear").await.unwrap().as_deref(), Some("{\"bytes\":1}"));
    assert_eq!(store.note("other").await.unwrap().as_deref(), Some("[]"));
}

pub async fn verification_finds_a_store_sound_and_counts_its_rows(store: Arc<dyn Store>) {
    record(&store, "attic", 0..100).await;

    for deep in [false, true] {
        let found = store.verify(deep).await.unwrap();

        assert!(found.is_sound() && found.deep == deep && found.version >= 1, "{found:?}");
        assert!(found.rows.iter().any(|(table, rows)| table == "modules" && *rows == 1), "{found:?}");
    }
}

pub async fn disk_use_includes_the_space_that_eviction_freed(store: Arc<dyn Store>) {
    record(&store, "attic", 0..20_000).await;
    let full = store.disk_use().await.unwrap();
    let before = start().plus(Duration::from_secs(20_000));
    evict_all(&store, Eviction { before, spared_bytes: 0, most: 9 }).await;
    let evicted = store.disk_use().await.unwrap();

    assert!(full.database_bytes > 0 && full.reusable_bytes < full.database_bytes, "{full:?}");
    assert!(evicted.reusable_bytes > full.reusable_bytes, "{full:?} {evicted:?}");
}

pub async fn a_backup_is_a_snapshot_of_one_moment(store: Arc<dyn Store>) {
    let Some(folder) = folder(&store) else { return };
    record(&store, "attic", 0..3000).await;
    let to = folder.join("copy.db");

    let write = async |n| record(&store, "shed", 2 * n..2 * n + 2).await;
    let (made, written) = bounded(interleave(store.backup(&to), write)).await;

    let made = made.unwrap();
    assert!(made.bytes > 0 && written > 0);
    // The copy is verified before it is opened, because an engine may change a file when it opens it.
    let found = crate::store::verify(&to, true).await.unwrap();
    assert!(found.is_sound() && found.rows == made.rows, "{found:?} {made:?}");
    let url = format!("sqlite://{}", to.display());
    let copy = crate::store::open(&url).await.unwrap();
    assert_eq!(stored_times(&copy, "attic").await.len(), 3000);
    let shed = stored_times(&copy, "shed").await.len();
    assert!(shed.is_multiple_of(2) && shed as u64 <= 2 * written, "complete batches: {shed}");
    assert!(copy.verify(true).await.unwrap().is_sound());
    copy.close().await.unwrap();
    assert_eq!(stored_times(&store, "shed").await.len() as u64, 2 * written);
}

pub async fn a_backup_never_replaces_a_file(store: Arc<dyn Store>) {
    let Some(folder) = folder(&store) else {
        let in_memory = store.backup(Path::new("/nowhere")).await;
        assert!(matches!(in_memory, Err(StoreError::Conflict(_))), "{in_memory:?}");
        return;
    };
    let to = folder.join("copy.db");
    std::fs::write(&to, "precious").unwrap();

    let refused = store.backup(&to).await;

    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert_eq!(std::fs::read(&to).unwrap(), b"precious");
    let key = SeriesKey { module_id: module("attic"), sensor: Quantity::Temperature.name(), channel: None };
    assert!(store.recent(&key, 1, None).await.unwrap().is_empty() && store.modules(&page(1)).await.is_ok());
}

/// The folder of the store's file, if it has one.
fn folder(store: &Arc<dyn Store>) -> Option<std::path::PathBuf> {
    store.file().and_then(Path::parent).map(Path::to_owned)
}
