//! Pages over all modules against a list that is sorted anew each time: whatever was recorded, folded, removed or asked
//! before, they say the same. In these tests runs are short and few, so that each is soon left out or cut.

use std::{collections::BTreeMap, path::Path, time::Duration};

use iotpi_core::{Bucket, ModuleId, Quantity, Reading, Sample, Timestamp};
use proptest::prelude::*;

use super::{NOW, reading, temperatures, whole};
use crate::store::{
    MaintainStore as _, PageRequest, ReadReadings as _, ReadingQuery, StoreOptions, WriteModules as _,
    WriteReadings as _, sqlite::Sqlite,
};

#[derive(Debug, Clone)]
enum Step {
    /// Records of these modules and times, in one write.
    Record(Vec<(u8, i64)>),
    Fold,
    Ask {
        since: Option<i64>,
        until: Option<i64>,
        not_after: Option<i64>,
        limit: u32,
        ascending: bool,
        /// Of stretches, in units of time.
        width: i64,
    },
    Remove(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let time = || -3_i64..40;
    prop_oneof![
        5 => prop::collection::vec((0_u8..7, time()), 1..40).prop_map(Step::Record),
        2 => Just(Step::Fold),
        6 => (
            prop::option::of(time()), prop::option::of(time()), prop::option::of(time()), 1_u32..30, any::<bool>(), 1_i64..12,
        )
            .prop_map(|(since, until, not_after, limit, ascending, width)| {
                Step::Ask { since, until, not_after, limit, ascending, width }
            }),
        1 => (0_u8..7).prop_map(Step::Remove),
        1 => Just(Step::Restart),
    ]
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
    let page = tokio::time::timeout(Duration::from_secs(30), page).await.expect("an answer").unwrap();
    assert_eq!(page.items.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pages_over_all_modules_equal_the_sorted_readings(
        steps in prop::collection::vec(step(), 1..24),
        // Close together, and so far apart that each record has a chunk of its own.
        unit_us in prop::sample::select(vec![1_i64, 20 * 86_400 * 1_000_000]),
        compact_at in prop::sample::select(vec![None, Some(1), Some(50)]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("hub.db");
            let mut store = open(&path, compact_at).await;
            let mut kept: Vec<Reading> = Vec::new();
            let at = |n: i64| Timestamp::from_micros(1_700_000_000_000_000 + n * unit_us);
            for step in steps {
                match step {
                    Step::Record(records) => {
                        let mark = kept.len() as f64;
                        let reading = |(of, time): (u8, i64)| {
                            let sample = Sample::new(Quantity::Temperature, mark + f64::from(of));
                            let reading = Reading::new(module(of), sample, at(time));
                            Reading { received_at: Some(NOW.wall), ..reading }
                        };
                        let readings: Vec<_> = records.into_iter().map(reading).collect();
                        store.record(readings.clone(), 100, NOW).await.unwrap();
                        kept.extend(readings);
                    }
                    Step::Fold => store.settle().await.unwrap(),
                    Step::Remove(n) => {
                        let _ = store.remove_module(&module(n)).await;
                        kept.retain(|reading| reading.module_id != module(n));
                    }
                    Step::Restart => {
                        store.close().await.unwrap();
                        drop(store);
                        store = open(&path, compact_at).await;
                    }
                    Step::Ask { since, until, not_after, limit, ascending, width } => {
                        let query = ReadingQuery {
                            sensor: Quantity::Temperature.name(),
                            module_id: None,
                            since: since.map(at),
                            until: until.map(at),
                            not_after: not_after.map(at),
                            ascending,
                        };
                        let found = whole(limit, async |page| store.readings(&query, &page).await.unwrap()).await;
                        assert_eq!(found, sorted(&kept, &query));

                        let query = ReadingQuery { ascending: true, ..query };
                        let width_us = width * unit_us;
                        let width = Duration::from_micros(width_us.unsigned_abs());
                        let found = whole(limit, async |page| store.buckets(&query, width, &page).await.unwrap());
                        let found: Vec<_> = found.await.iter().map(summed).collect();
                        assert_eq!(found, stretches(&sorted(&kept, &query), width_us));
                    }
                }
            }
        });
    }
}

/// What a stretch says: when it begins, the module, and its count, least and greatest value.
type Stretch = (i64, ModuleId, u64, Option<f64>, Option<f64>);

fn summed(bucket: &Bucket) -> Stretch {
    (bucket.start.as_micros(), bucket.module_id.clone(), bucket.count.unwrap(), bucket.min, bucket.max)
}

/// Readings put into stretches one by one.
fn stretches(readings: &[Reading], width_us: i64) -> Vec<Stretch> {
    let mut values: BTreeMap<(i64, ModuleId), Vec<f64>> = BTreeMap::new();
    for reading in readings {
        let taken_us = reading.taken_at.as_micros();
        let key = (taken_us - taken_us.rem_euclid(width_us), reading.module_id.clone());
        values.entry(key).or_default().push(reading.outcome.value().unwrap());
    }
    let stretch = |((start, module), values): ((i64, ModuleId), Vec<f64>)| {
        let (min, max) = (values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max));
        (start, module, values.len() as u64, min, max)
    };
    values.into_iter().map(stretch).collect()
}

/// What the query is about, sorted: of one module and microsecond, those that arrived first come first.
fn sorted(kept: &[Reading], query: &ReadingQuery) -> Vec<Reading> {
    let wanted = |reading: &&Reading| {
        query.since.is_none_or(|since| reading.taken_at >= since)
            && query.until.is_none_or(|until| reading.taken_at < until)
            && query.not_after.is_none_or(|latest| reading.taken_at <= latest)
    };
    let mut found: Vec<_> = kept.iter().filter(wanted).cloned().collect();
    found.sort_by_key(|reading| (reading.taken_at, reading.module_id.clone()));
    if !query.ascending {
        found.reverse();
    }
    found
}
