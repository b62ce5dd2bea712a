//! Damaged, truncated and swapped database files: the store opens or says why not, and what can be read makes
//! sense.

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
};

/// Opening and reading a damaged database takes milliseconds; whoever takes so long hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Readings of the sound database that are in no WAL any more.
const WRITTEN_BACK: usize = 3000;

fn now() -> Now {
    let wall = Timestamp::from_micros(1_795_472_000_000_000);
    Now { wall, steady: Steady(wall) }
}

async fn open(path: &Path) -> store::Result<Arc<dyn Store>> {
    store::open(&format!("sqlite://{}", path.display())).await
}

/// A database with some thousand readings, most of them written back, some in the WAL, as a killed process
/// leaves it.
async fn make(folder: &Path, module: &str) {
    let open_file = folder.join("open.db");
    let path = folder.join("hub.db");
    let reading = |n: u32| {
        let taken_at = now().wall.plus(Duration::from_secs(n.into()));
        Reading::new(ModuleId::new(module).unwrap(), Sample::new(Quantity::Temperature, n.into()), taken_at)
    };
    let store = open(&open_file).await.unwrap();
    store.record((0..WRITTEN_BACK as u32).map(reading).collect(), 10, now()).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let store = open(&open_file).await.unwrap();
    for n in (WRITTEN_BACK as u32..).take(50) {
        store.record(vec![reading(n)], 10, now()).await.unwrap();
    }
    fs::copy(&open_file, &path).unwrap();
    fs::copy(beside(&open_file, "-wal"), beside(&path, "-wal")).unwrap();
}

/// Reads everything; what was read, or why not.
async fn read(store: &dyn Store) -> store::Result<Vec<Reading>> {
    let query = ReadingQuery {
        sensor: Quantity::Temperature.name(),
        module_id: None,
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
        // A damaged index may lead in a circle.
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

async fn use_it(path: &Path) -> (End, Vec<Reading>) {
    let refused = |error: &StoreError| {
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        let said = matches!(error, StoreError::Engine { .. } | StoreError::Damaged { .. });
        assert!(said && !cause.is_empty(), "unclear: {error:?}");
    };
    let store = match open(path).await {
        Ok(store) => store,
        Err(error) => {
            refused(&error);
            return (End::NotOpened, Vec::new());
        }
    };
    let (mut end, mut found) = (End::Used, Vec::new());
    match read(store.as_ref()).await {
        Ok(readings) => found = readings,
        Err(error) => {
            refused(&error);
            end = End::NotRead;
        }
    }
    let more =
        Reading::new(ModuleId::new("new").unwrap(), Sample::new(Quantity::Temperature, 1.0), now().wall);
    if let Err(error) = store.record(vec![more], u64::MAX >> 2, now()).await {
        refused(&error);
        end = end.min(End::NotWritten);
    }
    let _ = store.close().await;
    (end, found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_database_opens_or_returns_a_reason() {
    let sound = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    make(sound[0].path(), "ours").await;
    make(sound[1].path(), "theirs").await;
    let mut ends = BTreeMap::new();
    let mut tried = BTreeSet::new();

    for seed in seeds(216, 5000) {
        let _print_seed = PrintSeedOnPanic { test: "a_damaged_database", seed };
        let mut random = SeededRandom::new(seed);
        let mutation = ALL[usize::try_from(seed % ALL.len() as u64).unwrap()];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        for ending in ["", "-wal"] {
            fs::copy(beside(&sound[0].path().join("hub.db"), ending), beside(&path, ending)).unwrap();
        }

        let only_wal = mutate(mutation, &path, &sound[1].path().join("hub.db"), &mut random);
        let (end, found) = tokio::time::timeout(DEADLINE, use_it(&path))
            .await
            .unwrap_or_else(|_| panic!("{mutation:?} hangs"));

        if only_wal {
            // What was written back is there, and of what was not, a beginning.
            let values: Vec<_> =
                found.iter().map(|reading| reading.outcome.value().unwrap() as usize).collect();
            assert_eq!(end, End::Used, "{mutation:?}");
            assert_eq!(values, (0..values.len()).collect::<Vec<_>>(), "{mutation:?}");
            assert!(values.len() >= WRITTEN_BACK, "{mutation:?}: {}", values.len());
        }
        *ends.entry((mutation, end)).or_insert(0) += 1;
        tried.insert(mutation);
    }

    println!("how it ended: {ends:?}");
    if std::env::var_os("IOTPI_SEED").is_none() {
        assert_eq!(tried.len(), ALL.len());
        assert!(ends.keys().any(|(_, end)| *end != End::Used), "no damage was ever noticed");
    }
}
