//! Whose records go when room has to be made: those of whoever's data grew most.

use std::{sync::Arc, time::Duration};

use iotpi_core::{ModuleId, Quantity, Reading, Sample, SensorType};

use super::{MANY, after, all, module, users::token};
use crate::store::{Eviction, Now, ReadingQuery, Store};

const DAY: u64 = 86_400;
/// When room has to be made, in seconds after the beginning.
const FULL: u64 = 400 * DAY;
/// What is younger than 30 days is kept where nobody is over their share.
const KEEP: u64 = 30 * DAY;
/// What the honest module has recorded: a reading every hour, of 400 days.
const HONEST: u64 = FULL / 3_600;

fn quantity(n: u64) -> Quantity {
    let unit = Quantity::Temperature.unit();
    Quantity::new(SensorType::new(format!("s{n}")).unwrap(), unit)
}

/// What is not compressed to nothing.
fn noise(n: u64) -> f64 {
    f64::from_bits(0x3FF0_0000_0000_0000 | (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 12))
}

/// Readings `every` so many seconds from `from` on, of one series of a module; they arrive as they are taken.
async fn record(store: &Arc<dyn Store>, of: &str, series: u64, (from, every, count): (u64, u64, u64)) {
    for batch in (0..count).collect::<Vec<_>>().chunks(2_000) {
        let reading = |n: &u64| {
            Reading::new(module(of), Sample::new(quantity(series), noise(*n)), after(from + n * every).wall)
        };
        let last = from + batch.last().unwrap() * every;
        store.record(batch.iter().map(reading).collect(), MANY, after(last)).await.unwrap();
        store.settle().await.unwrap();
    }
}

/// A module with a token of its own, which has recorded all the time.
async fn honest(store: &Arc<dyn Store>) {
    with_token(store, "honest").await;
    record(store, "honest", 0, (0, 3_600, HONEST)).await;
}

async fn with_token(store: &Arc<dyn Store>, id: &str) {
    let mut secret = [0; 32];
    secret[..id.len()].copy_from_slice(id.as_bytes());
    store.add_token(&secret, &token(id, Some(id))).await.unwrap();
}

async fn kept(store: &Arc<dyn Store>, of: &str, series: u64) -> u64 {
    let query = ReadingQuery {
        sensor: quantity(series).name(),
        module_id: Some(ModuleId::new(of).unwrap()),
        since: None,
        until: None,
        not_after: None,
        ascending: true,
    };
    let (records, _) = all(1000, async |page| store.readings(&query, &page).await.unwrap()).await;
    records.len() as u64
}

/// Makes so much room at that time: steps until there are none, or so many.
async fn thin(store: &Arc<dyn Store>, now: Now, most: u32) -> u32 {
    thin_but(store, 0, now, most).await
}

async fn thin_but(store: &Arc<dyn Store>, spared_bytes: u64, now: Now, most: u32) -> u32 {
    let before = now.wall.minus(Duration::from_secs(KEEP));
    let mut steps = 0;
    while steps < most {
        match store.thin(Eviction { before, spared_bytes, most: 1 }, now).await.unwrap() {
            0 => break,
            taken => steps += taken,
        }
    }
    steps
}

pub async fn a_module_over_its_share_is_evicted_before_any_other(store: Arc<dyn Store>) {
    honest(&store).await;
    with_token(&store, "flooder").await;
    // All of today, and less than the other has in all.
    record(&store, "flooder", 0, (FULL, 1, HONEST * 4 / 5)).await;

    thin(&store, after(FULL + DAY), 1).await;

    assert_eq!(kept(&store, "honest", 0).await, HONEST);
    assert!(kept(&store, "flooder", 0).await < HONEST * 4 / 5, "its own went, young as they were");
    thin(&store, after(FULL + DAY), 1_000).await;
    assert!(kept(&store, "flooder", 0).await >= 1, "a series has at least one record");
}

pub async fn two_modules_over_their_share_are_evicted_before_any_other(store: Arc<dyn Store>) {
    honest(&store).await;
    for flooder in ["one", "two"] {
        with_token(&store, flooder).await;
        record(&store, flooder, 0, (FULL, 1, 20_000)).await;
    }

    thin(&store, after(FULL + DAY), 6).await;

    let (one, two) = (kept(&store, "one", 0).await, kept(&store, "two", 0).await);
    assert!(one < 16_000 && two < 16_000, "both: {one} and {two}");
    assert_eq!(kept(&store, "honest", 0).await, HONEST);
}

pub async fn a_module_stays_over_its_share_after_its_burst_has_ended(store: Arc<dyn Store>) {
    honest(&store).await;
    with_token(&store, "flooder").await;
    record(&store, "flooder", 0, (FULL, 1, 40_000)).await;
    // Only the other has delivered since.
    record(&store, "honest", 0, (FULL, 3_600, 40 * 24)).await;

    thin(&store, after(FULL + 40 * DAY), 4).await;

    assert_eq!(kept(&store, "honest", 0).await, HONEST + 40 * 24);
    assert!(kept(&store, "flooder", 0).await < 30_000);
}

pub async fn the_share_of_a_module_covers_all_its_series(store: Arc<dyn Store>) {
    honest(&store).await;
    with_token(&store, "flooder").await;
    for series in 0..40 {
        // One chunk each: there is no older one to give.
        record(&store, "flooder", series, (FULL, 1, 1_000)).await;
    }

    thin(&store, after(FULL + DAY), 30).await;

    assert_eq!(kept(&store, "honest", 0).await, HONEST);
    let mut left = 0;
    for series in 0..40 {
        left += kept(&store, "flooder", series).await;
    }
    assert!((40..=11_000).contains(&left), "thirty of forty series have their newest left: {left}");
}

pub async fn modules_without_tokens_count_as_one_writer(store: Arc<dyn Store>) {
    honest(&store).await;
    for n in 0..30 {
        // Each has less than the honest module.
        record(&store, &format!("m{n}"), 0, (FULL, 1, 5_000)).await;
    }

    thin(&store, after(FULL + DAY), 20).await;

    assert_eq!(kept(&store, "honest", 0).await, HONEST);
    let mut left = 0;
    for n in 0..30 {
        left += kept(&store, &format!("m{n}"), 0).await;
    }
    assert!(left < 100_000, "{left}");
}

pub async fn evicting_backdated_readings_deletes_their_minutes_but_not_their_days(store: Arc<dyn Store>) {
    honest(&store).await;
    with_token(&store, "flooder").await;
    // Taken long ago, by its own clock; all of it arrived now.
    let early = |n: u64| Reading::new(module("flooder"), Sample::new(quantity(1), noise(n)), after(n).wall);
    for batch in (0..40_000).map(early).collect::<Vec<_>>().chunks(4_000) {
        store.record(batch.to_vec(), MANY, after(FULL)).await.unwrap();
        store.settle().await.unwrap();
    }

    thin(&store, after(FULL + DAY), 4).await;

    let query = ReadingQuery {
        sensor: quantity(1).name(),
        module_id: Some(module("flooder")),
        since: None,
        until: None,
        not_after: None,
        ascending: true,
    };
    let counted = async |secs: u64| {
        let width = Duration::from_secs(secs);
        let (sums, _) = all(1000, async |page| store.buckets(&query, width, &page).await.unwrap()).await;
        sums.iter().filter_map(|sum| sum.count).sum::<u64>()
    };
    let left = kept(&store, "flooder", 1).await;
    assert!(left < 40_000);
    let minutes = counted(60).await;
    assert!((left..left + 120).contains(&minutes), "{minutes} in sums of minutes, {left} are left");
    assert_eq!(counted(DAY).await, 40_000, "sums of days stay");
    assert_eq!(kept(&store, "honest", 0).await, HONEST);
}

pub async fn recent_readings_are_not_evicted_if_no_module_is_over_its_share(store: Arc<dyn Store>) {
    for id in ["one", "two"] {
        with_token(&store, id).await;
        record(&store, id, 0, (FULL - 10 * DAY, 43, 20_000)).await;
    }

    let steps = thin(&store, after(FULL), 1_000).await;

    assert_eq!(steps, 0);
    assert_eq!((kept(&store, "one", 0).await, kept(&store, "two", 0).await), (20_000, 20_000));
}

pub async fn a_module_that_grew_by_less_than_the_spared_size_is_not_over_its_share(store: Arc<dyn Store>) {
    for (id, count) in [("one", 20_000), ("two", 2_000)] {
        with_token(&store, id).await;
        record(&store, id, 0, (FULL - 10 * DAY, 43, count)).await;
    }

    let steps = thin_but(&store, 1 << 20, after(FULL), 1_000).await;

    assert_eq!(steps, 0);
    assert_eq!((kept(&store, "one", 0).await, kept(&store, "two", 0).await), (20_000, 2_000));
}
