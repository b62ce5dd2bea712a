//! Pages over all modules compared with a sorted list: they are the same, whatever was recorded, compacted,
//! removed or queried before. In these tests the cached runs of a page are short and few, so they are often
//! evicted and cut.

use std::{collections::BTreeMap, path::Path, time::Duration};

use iotpi_core::{Channel, ModuleId, Quantity, Reading, Sample, Timestamp, model::reading::Bucket};
use proptest::prelude::*;

use super::{NOW, all_items, reading, temperatures};
use crate::store::{
    MaintainStore as _, PageRequest, ReadReadings as _, ReadingQuery, StoreOptions, WriteModules as _,
    WriteReadings as _, sqlite::Sqlite,
};

#[derive(Debug, Clone)]
enum Step {
    /// Records readings of these series and times in one write.
    Record(Vec<(u8, i64)>),
    Compact,
    Query {
        module: Option<u8>,
        channel: Option<bool>,
        since: Option<i64>,
        until: Option<i64>,
        not_after: Option<i64>,
        limit: u32,
        ascending: bool,
        /// The width of buckets, in units of time.
        width: i64,
    },
    Remove(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let time = || -3_i64..40;
    prop_oneof![
        5 => prop::collection::vec((0_u8..14, time()), 1..40).prop_map(Step::Record),
        2 => Just(Step::Compact),
        6 => (
            // Mostly all series, whose pages are kept.
            prop::option::weighted(0.2, 0_u8..7), prop::option::weighted(0.2, any::<bool>()),
            prop::option::of(time()), prop::option::of(time()), prop::option::of(time()), 1_u32..30, any::<bool>(), 1_i64..12,
        )
            .prop_map(|(module, channel, since, until, not_after, limit, ascending, width)| {
                Step::Query { module, channel, since, until, not_after, limit, ascending, width }
            }),
        1 => (0_u8..7).prop_map(Step::Remove),
        1 => Just(Step::Restart),
    ]
}

/// The second channel of a module, or the default one.
fn channel(is_second: bool) -> Option<Channel> {
    is_second.then(|| Channel::new("second").unwrap())
}

fn module(n: u8) -> ModuleId {
    ModuleId::new(format!("m{n}")).unwrap()
}

async fn open(path: &Path, compact_at: Option<usize>) -> Sqlite {
    let options = StoreOptions { compact_at, ..StoreOptions::default() };
    Sqlite::open(&format!("//{}", path.display()), options).await.unwrap()
}

#[tokio::test]
async fn a_descending_page_does_not_wait_for_a_run_that_begins_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db"), None).await;
    store.record(vec![reading("m1", 0)], 10, NOW).await.unwrap();
    let at = |n: i64| Some(Timestamp::from_micros(NOW.wall.as_micros() + n));
    let later = ReadingQuery { since: at(20), ..temperatures(true) };
    let newest = ReadingQuery { not_after: at(10), ..temperatures(false) };

    let first = PageRequest { limit: 5, cursor: None };
    assert!(store.readings(&later, &first).await.unwrap().items.is_empty());

    let page = store.readings(&newest, &first);
    let page = tokio::time::timeout(Duration::from_secs(30), page).await.expect("a page").unwrap();
    assert_eq!(page.items.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pages_over_several_series_equal_the_sorted_readings(
        steps in prop::collection::vec(step(), 1..24),
        // Close together, and so far apart that each reading has a chunk of its own.
        unit_us in prop::sample::select(vec![1_i64, 20 * 86_400 * 1_000_000]),
        compact_at in prop::sample::select(vec![None, Some(1), Some(50)]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("hub.db");
            let mut store = open(&path, compact_at).await;
            let mut stored: Vec<Reading> = Vec::new();
            let at = |n: i64| Timestamp::from_micros(1_700_000_000_000_000 + n * unit_us);
            for step in steps {
                match step {
                    Step::Record(times) => {
                        let first_value = stored.len() as f64;
                        let reading = |(of, time): (u8, i64)| {
                            let mut sample = Sample::new(Quantity::Temperature, first_value + f64::from(of));
                            sample.channel = channel(of >= 7);
                            Reading::new(module(of % 7), sample, at(time)).with_received_at(NOW.wall)
                        };
                        let readings: Vec<_> = times.into_iter().map(reading).collect();
                        store.record(readings.clone(), 100, NOW).await.unwrap();
                        stored.extend(readings);
                    }
                    Step::Compact => store.compact().await.unwrap(),
                    Step::Remove(n) => {
                        let _ = store.remove_module(&module(n)).await;
                        stored.retain(|reading| reading.module_id != module(n));
                    }
                    Step::Restart => {
                        store.close().await.unwrap();
                        drop(store);
                        store = open(&path, compact_at).await;
                    }
                    Step::Query { module: of, channel: on, since, until, not_after, limit, ascending, width } => {
                        let query = ReadingQuery {
                            sensor: Quantity::Temperature.name(),
                            module_id: of.map(module),
                            channel: on.map(|is_second| channel(is_second).into()),
                            since: since.map(at),
                            until: until.map(at),
                            not_after: not_after.map(at),
                            ascending,
                        };
                        let found = all_items(limit, async |page| store.readings(&query, &page).await.unwrap()).await;
                        assert_eq!(found, sorted(&stored, &query));

                        let query = ReadingQuery { ascending: true, ..query };
                        let width_us = width * unit_us;
                        let width = Duration::from_micros(width_us.unsigned_abs());
                        let found = all_items(limit, async |page| store.buckets(&query, width, &page).await.unwrap());
                        let found: Vec<_> = found.await.iter().map(row).collect();
                        assert_eq!(found, expected_buckets(&sorted(&stored, &query), width_us));
                    }
                }
            }
        });
    }
}

/// A bucket: its start, module, channel, count, minimum and maximum.
type BucketRow = (i64, ModuleId, Option<Channel>, u64, Option<f64>, Option<f64>);

fn row(bucket: &Bucket) -> BucketRow {
    let Bucket { module_id, channel, min, max, .. } = bucket.clone();
    (bucket.start.as_micros(), module_id, channel, bucket.count.unwrap(), min, max)
}

/// The buckets of these readings.
fn expected_buckets(readings: &[Reading], width_us: i64) -> Vec<BucketRow> {
    let mut values: BTreeMap<(i64, ModuleId, Option<Channel>), Vec<f64>> = BTreeMap::new();
    for reading in readings {
        let taken_us = reading.taken_at.as_micros();
        let start = taken_us - taken_us.rem_euclid(width_us);
        let key = (start, reading.module_id.clone(), reading.channel.clone());
        values.entry(key).or_default().push(reading.outcome.value().unwrap());
    }
    let row = |((start, module, channel), values): ((i64, ModuleId, Option<Channel>), Vec<f64>)| {
        let (min, max) = (values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max));
        (start, module, channel, values.len() as u64, min, max)
    };
    values.into_iter().map(row).collect()
}

/// The readings that a query selects, sorted. Readings of one module and microsecond are in order of arrival.
fn sorted(stored: &[Reading], query: &ReadingQuery) -> Vec<Reading> {
    let is_selected = |reading: &&Reading| {
        query.since.is_none_or(|since| reading.taken_at >= since)
            && query.until.is_none_or(|until| reading.taken_at < until)
            && query.not_after.is_none_or(|latest| reading.taken_at <= latest)
            && query.module_id.as_ref().is_none_or(|module| reading.module_id == *module)
            && query.channel.as_ref().is_none_or(|only| only.matches(reading.channel.as_ref()))
    };
    let mut found: Vec<_> = stored.iter().filter(is_selected).cloned().collect();
    found.sort_by_key(|reading| (reading.taken_at, reading.module_id.clone(), reading.channel.clone()));
    if !query.ascending {
        found.reverse();
    }
    found
}
