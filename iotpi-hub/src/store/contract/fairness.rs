//! Eviction: it first deletes readings of the modules whose data grew by more than their share.

use std::{sync::Arc, time::Duration};

use iotpi_core::{ModuleId, Quantity, Reading, Sample, SensorType};

use super::{MAX_SERIES, after, all_pages, module, users::token};
use crate::store::{Eviction, Now, ReadingQuery, Store};

const DAY: u64 = 86_400;
/// The time of the eviction, in seconds after the start.
const FULL_AT: u64 = 400 * DAY;
/// The age in seconds below which readings are not evicted if no module is over its share.
const MIN_AGE: u64 = 30 * DAY;
/// The number of readings of the regular module: one an hour for 400 days.
const REGULAR: u64 = FULL_AT / 3_600;

fn quantity(n: u64) -> Quantity {
    let unit = Quantity::Temperature.unit();
    Quantity::new(SensorType::new(format!("s{n}")).unwrap(), unit)
}

/// A value that does not compress well.
fn noise(n: u64) -> f64 {
    f64::from_bits(0x3FF0_0000_0000_0000 | (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 12))
}

/// Records `count` readings of one series of a module, taken every `interval` seconds from `from` on. Each
/// batch arrives when its last reading is taken.
async fn record(store: &Arc<dyn Store>, of: &str, series: u64, (from, interval, count): (u64, u64, u64)) {
    for batch in (0..count).collect::<Vec<_>>().chunks(2_000) {
        let reading = |n: &u64| {
            Reading::new(
                module(of),
                Sample::new(quantity(series), noise(*n)),
                after(from + n * interval).wall,
            )
        };
        let last = from + batch.last().unwrap() * interval;
        store.record(batch.iter().map(reading).collect(), MAX_SERIES, after(last)).await.unwrap();
        store.compact().await.unwrap();
    }
}

/// Adds a module with a token of its own that has recorded for the whole time.
async fn add_regular(store: &Arc<dyn Store>) {
    add_module_token(store, "regular").await;
    record(store, "regular", 0, (0, 3_600, REGULAR)).await;
}

async fn add_module_token(store: &Arc<dyn Store>, id: &str) {
    let mut secret = [0; 32];
    secret[..id.len()].copy_from_slice(id.as_bytes());
    store.add_token(&secret, &token(id, Some(id))).await.unwrap();
}

async fn stored(store: &Arc<dyn Store>, of: &str, series: u64) -> u64 {
    let query = ReadingQuery {
        sensor: quantity(series).name(),
        module_id: Some(ModuleId::new(of).unwrap()),
        channel: None,
        since: None,
        until: None,
        not_after: None,
        ascending: true,
    };
    let (readings, _) = all_pages(1000, async |page| store.readings(&query, &page).await.unwrap()).await;
    readings.len() as u64
}

/// Evicts step by step until nothing is left to evict, or `max_steps` times. Returns the number of steps.
async fn evict(store: &Arc<dyn Store>, now: Now, max_steps: u32) -> u32 {
    evict_sparing(store, 0, now, max_steps).await
}

async fn evict_sparing(store: &Arc<dyn Store>, spared_bytes: u64, now: Now, max_steps: u32) -> u32 {
    let before = now.wall.minus(Duration::from_secs(MIN_AGE));
    let mut steps = 0;
    while steps < max_steps {
        match store.evict(Eviction { before, spared_bytes, most: 1 }, now).await.unwrap() {
            0 => break,
            done => steps += done,
        }
    }
    steps
}

pub async fn a_module_over_its_share_is_evicted_before_any_other(store: Arc<dyn Store>) {
    add_regular(&store).await;
    add_module_token(&store, "flooder").await;
    // All readings are of this day, and fewer than the other module has in total.
    record(&store, "flooder", 0, (FULL_AT, 1, REGULAR * 4 / 5)).await;

    evict(&store, after(FULL_AT + DAY), 1).await;

    assert_eq!(stored(&store, "regular", 0).await, REGULAR);
    assert!(
        stored(&store, "flooder", 0).await < REGULAR * 4 / 5,
        "its own readings are evicted, although they are recent"
    );
    evict(&store, after(FULL_AT + DAY), 1_000).await;
    assert!(stored(&store, "flooder", 0).await >= 1, "the newest reading of a series is never evicted");
}

pub async fn two_modules_over_their_share_are_evicted_before_any_other(store: Arc<dyn Store>) {
    add_regular(&store).await;
    for flooder in ["one", "two"] {
        add_module_token(&store, flooder).await;
        record(&store, flooder, 0, (FULL_AT, 1, 20_000)).await;
    }

    evict(&store, after(FULL_AT + DAY), 6).await;

    let (one, two) = (stored(&store, "one", 0).await, stored(&store, "two", 0).await);
    assert!(one < 16_000 && two < 16_000, "{one} and {two} readings are left");
    assert_eq!(stored(&store, "regular", 0).await, REGULAR);
}

pub async fn a_module_stays_over_its_share_after_its_burst_has_ended(store: Arc<dyn Store>) {
    add_regular(&store).await;
    add_module_token(&store, "flooder").await;
    record(&store, "flooder", 0, (FULL_AT, 1, 40_000)).await;
    // Since then only the other module has recorded.
    record(&store, "regular", 0, (FULL_AT, 3_600, 40 * 24)).await;

    evict(&store, after(FULL_AT + 40 * DAY), 4).await;

    assert_eq!(stored(&store, "regular", 0).await, REGULAR + 40 * 24);
    assert!(stored(&store, "flooder", 0).await < 30_000);
}

pub async fn the_share_of_a_module_covers_all_its_series(store: Arc<dyn Store>) {
    add_regular(&store).await;
    add_module_token(&store, "flooder").await;
    for series in 0..40 {
        // Each series fits into one chunk, so it has no older chunk to evict.
        record(&store, "flooder", series, (FULL_AT, 1, 1_000)).await;
    }

    evict(&store, after(FULL_AT + DAY), 30).await;

    assert_eq!(stored(&store, "regular", 0).await, REGULAR);
    let mut left = 0;
    for series in 0..40 {
        left += stored(&store, "flooder", series).await;
    }
    assert!(
        (40..=11_000).contains(&left),
        "thirty of forty series have only their newest reading left: {left}"
    );
}

pub async fn modules_without_tokens_count_as_one_writer(store: Arc<dyn Store>) {
    add_regular(&store).await;
    for n in 0..30 {
        // Each has fewer readings than the regular module.
        record(&store, &format!("m{n}"), 0, (FULL_AT, 1, 5_000)).await;
    }

    evict(&store, after(FULL_AT + DAY), 20).await;

    assert_eq!(stored(&store, "regular", 0).await, REGULAR);
    let mut left = 0;
    for n in 0..30 {
        left += stored(&store, &format!("m{n}"), 0).await;
    }
    assert!(left < 100_000, "{left}");
}

pub async fn evicting_backdated_readings_deletes_their_minutes_but_not_their_days(store: Arc<dyn Store>) {
    add_regular(&store).await;
    add_module_token(&store, "flooder").await;
    // By the clock of the module, the readings were taken long ago. All of them arrive now.
    let backdated =
        |n: u64| Reading::new(module("flooder"), Sample::new(quantity(1), noise(n)), after(n).wall);
    for batch in (0..40_000).map(backdated).collect::<Vec<_>>().chunks(4_000) {
        store.record(batch.to_vec(), MAX_SERIES, after(FULL_AT)).await.unwrap();
        store.compact().await.unwrap();
    }

    evict(&store, after(FULL_AT + DAY), 4).await;

    let query = ReadingQuery {
        sensor: quantity(1).name(),
        module_id: Some(module("flooder")),
        channel: None,
        since: None,
        until: None,
        not_after: None,
        ascending: true,
    };
    let counted = async |secs: u64| {
        let width = Duration::from_secs(secs);
        let (buckets, _) =
            all_pages(1000, async |page| store.buckets(&query, width, &page).await.unwrap()).await;
        buckets.iter().filter_map(|bucket| bucket.count).sum::<u64>()
    };
    let left = stored(&store, "flooder", 1).await;
    assert!(left < 40_000);
    let minutes = counted(60).await;
    assert!(
        (left..left + 120).contains(&minutes),
        "{minutes} readings in rollups of minutes, {left} readings are left"
    );
    assert_eq!(counted(DAY).await, 40_000, "rollups of days are not evicted");
    assert_eq!(stored(&store, "regular", 0).await, REGULAR);
}

pub async fn recent_readings_are_not_evicted_if_no_module_is_over_its_share(store: Arc<dyn Store>) {
    for id in ["one", "two"] {
        add_module_token(&store, id).await;
        record(&store, id, 0, (FULL_AT - 10 * DAY, 43, 20_000)).await;
    }

    let steps = evict(&store, after(FULL_AT), 1_000).await;

    assert_eq!(steps, 0);
    assert_eq!((stored(&store, "one", 0).await, stored(&store, "two", 0).await), (20_000, 20_000));
}

pub async fn a_module_that_grew_by_less_than_the_spared_size_is_not_over_its_share(store: Arc<dyn Store>) {
    for (id, count) in [("one", 20_000), ("two", 2_000)] {
        add_module_token(&store, id).await;
        record(&store, id, 0, (FULL_AT - 10 * DAY, 43, count)).await;
    }

    let steps = evict_sparing(&store, 1 << 20, after(FULL_AT), 1_000).await;

    assert_eq!(steps, 0);
    assert_eq!((stored(&store, "one", 0).await, stored(&store, "two", 0).await), (20_000, 2_000));
}
