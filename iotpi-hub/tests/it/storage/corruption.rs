//! Damaged, truncated and swapped database files: the store opens or returns the reason, and readings are
//! valid.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use iotpi_core::{ModuleId, Quantity, Reading, Sample, Timestamp};
use iotpi_hub::store::{self, Now, PageRequest, ReadingQuery, Steady, Store, StoreError};

use crate::support::{
    file_damage::{ALL, beside, mutate},
    seeded_random::{PrintSeedOnPanic, SeededRandom, seeds},
    wait::bounded,
};

/// The readings of the intact database that are not only in the WAL.
const CHECKPOINTED: usize = 3000;

fn now() -> Now {
    let wall = Timestamp::from_micros(1_795_472_000_000_000);
    Now { wall, steady: Steady(wall) }
}

async fn open(path: &Path) -> store::Result<Arc<dyn Store>> {
    store::open(&format!("sqlite://{}", path.display())).await
}

/// Creates a database as a killed process leaves it: most of its readings are checkpointed, some only in the
/// WAL.
async fn create_database(folder: &Path, module: &str) {
    let open_file = folder.join("open.db");
    let path = folder.join("hub.db");
    let reading = |n: u32| {
        let taken_at = now().wall.plus(Duration::from_secs(n.into()));
        Reading::new(ModuleId::new(module).unwrap(), Sample::new(Quantity::Temperature, n.into()), taken_at)
    };
    let store = open(&open_file).await.unwrap();
    store.record((0..CHECKPOINTED as u32).map(reading).collect(), 10, now()).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let store = open(&open_file).await.unwrap();
    for n in (CHECKPOINTED as u32..).take(50) {
        store.record(vec![reading(n)], 10, now()).await.unwrap();
    }
    fs::copy(&open_file, &path).unwrap();
    fs::copy(beside(&open_file, "-wal"), beside(&path, "-wal")).unwrap();
}

/// Reads everything; returns the readings.
async fn read_all(store: &dyn Store) -> store::Result<Vec<Reading>> {
    let query = ReadingQuery {
        sensor: Quantity::Temperature.name(),
        module_id: None,
        channel: None,
        since: None,
        until: None,
        not_after: None,
        ascending: true,
    };
    let mut request = PageRequest { limit: 1000, cursor: None };
    let mut found = Vec::new();
    store.series().await?;
    store.newest(None, None, &PageRequest::default()).await?;
    store.modules(&PageRequest::default()).await?;
    store.buckets(&query, Duration::from_secs(3600), &PageRequest::default()).await?;
    loop {
        let page = store.readings(&query, &request).await?;
        found.extend(page.items);
        // A damaged index may have a cycle.
        if page.next.is_none() || found.len() > 20_000 {
            return Ok(found);
        }
        request.cursor = page.next;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    NotOpened,
    NotRead,
    NotWritten,
    Used,
}

async fn use_database(path: &Path) -> (End, Vec<Reading>) {
    let assert_has_cause = |error: &StoreError| {
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        let is_expected = matches!(error, StoreError::Engine { .. } | StoreError::Damaged { .. });
        assert!(is_expected && !cause.is_empty(), "{error:?}");
    };
    let store = match open(path).await {
        Ok(store) => store,
        Err(error) => {
            assert_has_cause(&error);
            return (End::NotOpened, Vec::new());
        }
    };
    let (mut end, mut found) = (End::Used, Vec::new());
    match read_all(store.as_ref()).await {
        Ok(readings) => found = readings,
        Err(error) => {
            assert_has_cause(&error);
            end = End::NotRead;
        }
    }
    let more =
        Reading::new(ModuleId::new("new").unwrap(), Sample::new(Quantity::Temperature, 1.0), now().wall);
    if let Err(error) = store.record(vec![more], u64::MAX >> 2, now()).await {
        assert_has_cause(&error);
        end = end.min(End::NotWritten);
    }
    let _ = store.close().await;
    (end, found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_database_opens_or_returns_a_reason() {
    let intact = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    create_database(intact[0].path(), "ours").await;
    create_database(intact[1].path(), "theirs").await;
    let mut ends = BTreeMap::new();
    let mut tried = BTreeSet::new();

    for seed in seeds(216, 5000) {
        let _print_seed = PrintSeedOnPanic { test: "a_damaged_database", seed };
        let mut random = SeededRandom::new(seed);
        let mutation = ALL[usize::try_from(seed % ALL.len() as u64).unwrap()];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        for suffix in ["", "-wal"] {
            fs::copy(beside(&intact[0].path().join("hub.db"), suffix), beside(&path, suffix)).unwrap();
        }

        let only_wal = mutate(mutation, &path, &intact[1].path().join("hub.db"), &mut random);
        let (end, found) = bounded(&format!("the end after {mutation:?}"), use_database(&path)).await;

        if only_wal {
            // The checkpointed readings are complete, followed by a prefix of the others.
            let values: Vec<_> =
                found.iter().map(|reading| reading.outcome.value().unwrap() as usize).collect();
            assert_eq!(end, End::Used, "{mutation:?}");
            assert_eq!(values, (0..values.len()).collect::<Vec<_>>(), "{mutation:?}");
            assert!(values.len() >= CHECKPOINTED, "{mutation:?}: {}", values.len());
        }
        *ends.entry((mutation, end)).or_insert(0) += 1;
        tried.insert(mutation);
    }

    println!("{ends:?}");
    if std::env::var_os("IOTPI_SEED").is_none() {
        assert_eq!(tried.len(), ALL.len());
        assert!(ends.keys().any(|(_, end)| *end != End::Used), "no damage was detected");
    }
}
