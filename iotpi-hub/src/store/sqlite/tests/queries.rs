//! The readers: their permissions, their query plans, and pages that together are the whole list.

use std::{collections::BTreeMap, time::Duration};

use iotpi_core::{ModuleId, Quantity, Reading, Timestamp};
use proptest::prelude::*;

use super::{NOW, all_items, open, reading, temperatures};
use crate::store::{
    MaintainStore as _, PageRequest, ReadReadings as _, ReadUsers as _, SeriesKey, StoreError, StoreOptions,
    WriteReadings as _,
    contract::bounded,
    sqlite::{
        Sqlite, commands,
        failure::EngineResult,
        readers,
        series::{bucket_sums, merge, readings, rollup_blocks},
        writer::WriteContext,
    },
};

/// The statements that run once for each series, page or command.
const STATEMENTS: [&str; 14] = [
    readings::CHUNKS,
    readings::CHUNKS_BACKWARDS,
    bucket_sums::ROLLUPS,
    bucket_sums::UNROLLED_CHUNKS,
    bucket_sums::ALL_CHUNKS,
    rollup_blocks::BLOCKS,
    merge::LAST_CHUNK,
    merge::CHUNK_BEFORE,
    merge::CHUNK_AFTER,
    commands::LEASED,
    commands::OLDEST,
    commands::BY_KEY,
    commands::TOO_OLD,
    commands::OLDEST_ENDED,
];

#[tokio::test]
async fn a_reader_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();

    let result = store.read("delete", |db| Ok(db.execute("DELETE FROM progress", [])?)).await;

    assert!(matches!(result, Err(StoreError::Engine { .. })), "{result:?}");
}

#[tokio::test]
async fn a_query_that_panics_returns_its_connection() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();

    for _ in 0..2 * readers::CONNECTIONS {
        let result = store.read("panic", |_| -> EngineResult<()> { panic!("on purpose") }).await;
        assert!(matches!(result, Err(StoreError::Engine { .. })), "{result:?}");
    }

    assert!(!store.has_users().await.unwrap());
}

#[tokio::test]
async fn no_list_query_scans_or_sorts_a_table() {
    let store = Sqlite::open(":memory:", StoreOptions::default()).await.unwrap();
    let plans = |db: &mut WriteContext<'_>| {
        let plan = |sql: &str| -> rusqlite::Result<String> {
            let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            // No parameters are bound: the plan must not depend on them.
            let steps = explain.raw_query().mapped(|row| row.get::<_, String>(3));
            Ok(steps.collect::<Result<Vec<_>, _>>()?.join("; "))
        };
        Ok(STATEMENTS.map(plan).into_iter().collect::<Result<Vec<_>, _>>()?)
    };

    for plan in store.write("explain", plans).await.unwrap() {
        assert!(plan.contains("SEARCH") && !plan.contains("SCAN") && !plan.contains("TEMP"), "{plan}");
    }
}

/// SQLite prepares a statement again if its plan depends on the value of a parameter and the value changes.
/// That takes several times as long as a query of a few rows.
#[tokio::test]
async fn no_statement_is_prepared_again_for_other_parameters() {
    let store = Sqlite::open(":memory:", StoreOptions::default()).await.unwrap();
    let count_prepares = |db: &mut WriteContext<'_>| {
        let prepares = |sql: &str| -> rusqlite::Result<i32> {
            let mut statement = db.prepare(sql)?;
            for value in 1..4 {
                for parameter in 1..=statement.parameter_count() {
                    statement.raw_bind_parameter(parameter, value)?;
                }
                statement.raw_query().next()?;
            }
            Ok(statement.get_status(rusqlite::StatementStatus::RePrepare))
        };
        Ok(STATEMENTS.map(prepares).into_iter().collect::<Result<Vec<_>, _>>()?)
    };

    let prepares = store.write("prepare", count_prepares).await.unwrap();

    for (statement, count) in STATEMENTS.iter().zip(prepares) {
        assert_eq!(count, 0, "{statement}");
    }
}

#[tokio::test]
async fn a_sweep_reads_only_commands_that_are_not_final() {
    let store = Sqlite::open(":memory:", StoreOptions::default()).await.unwrap();
    let plan = |db: &mut WriteContext<'_>| {
        let explain = format!("EXPLAIN QUERY PLAN {}", commands::NEXT_DUE);
        Ok(db.query_row(&explain, [], |row| row.get::<_, String>(3))?)
    };

    let plan = store.write("explain", plan).await.unwrap();

    assert!(plan.contains("USING INDEX commands_waiting"), "{plan}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_pages_together_are_the_whole_list(
        data in prop::collection::vec((0_usize..4, 0_i64..6), 0..40),
        limit in 1_u32..12,
        ascending: bool,
        width_us in prop::sample::select(vec![1_i64, 2, 4]),
        compact_at in prop::sample::select(vec![None, Some(1), Some(7)]),
    ) {
        let recorded: Vec<_> = data.iter().map(|(of, n)| reading(["a", "b", "c", "d"][*of], *n)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

        runtime.block_on(async {
            let store = Sqlite::open(":memory:", StoreOptions { compact_at, ..StoreOptions::default() }).await.unwrap();
            for reading in &recorded {
                store.record(vec![reading.clone()], 10, NOW).await.unwrap();
            }
            assert_readings(&store, &recorded, limit, ascending).await;
            assert_buckets(&store, &recorded, limit, width_us).await;
            assert_recent(&store, &recorded, limit).await;
        });
    }
}

#[tokio::test]
async fn a_reading_after_the_latest_time_of_one_query_is_the_newest_of_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let store = open(&path).await.unwrap();
    store.record(vec![reading("a", 1), reading("a", 20)], 10, NOW).await.unwrap();
    store.compact().await.unwrap();
    store.close().await.unwrap();
    // The newest readings are not in memory yet.
    let store = open(&path).await.unwrap();
    let newest = async |latest: i64| {
        let latest = Timestamp::from_micros(NOW.wall.as_micros() + latest);
        let page = PageRequest { limit: 5, cursor: None };
        let page = store.newest(None, Some(latest), &page).await.unwrap();
        page.items.into_iter().map(|reading| reading.outcome.value().unwrap()).collect::<Vec<_>>()
    };

    assert_eq!(newest(10).await, [1.0]);
    assert_eq!(newest(30).await, [20.0]);
}

/// The expected readings, oldest first: sorted by time, then module. The sort is stable and keeps the order
/// of arrival.
fn sorted(recorded: &[Reading]) -> Vec<Reading> {
    let mut sorted: Vec<_> =
        recorded.iter().map(|reading| reading.clone().with_received_at(NOW.wall)).collect();
    sorted.sort_by_key(|reading| (reading.taken_at, reading.module_id.clone()));
    sorted
}

async fn assert_readings(store: &Sqlite, recorded: &[Reading], limit: u32, ascending: bool) {
    let query = temperatures(ascending);
    let mut expected = sorted(recorded);
    if !ascending {
        expected.reverse();
    }

    let found = all_items(limit, async |page| store.readings(&query, &page).await.unwrap()).await;

    assert_eq!(found, expected);
}

async fn assert_buckets(store: &Sqlite, recorded: &[Reading], limit: u32, width_us: i64) {
    let (query, width) = (temperatures(true), Duration::from_micros(width_us.unsigned_abs()));
    let mut expected = BTreeMap::new();
    for reading in recorded {
        let micros = reading.taken_at.as_micros();
        *expected.entry((micros - micros % width_us, reading.module_id.clone())).or_insert(0) += 1;
    }

    let found = all_items(limit, async |page| store.buckets(&query, width, &page).await.unwrap()).await;

    let found: Vec<_> =
        found.into_iter().map(|b| ((b.start.as_micros(), b.module_id), b.count.unwrap())).collect();
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
}

async fn assert_recent(store: &Sqlite, recorded: &[Reading], limit: u32) {
    let series = SeriesKey {
        module_id: ModuleId::new("a").unwrap(),
        sensor: Quantity::Temperature.name(),
        channel: None,
    };
    let mut expected = sorted(recorded);
    expected.retain(|reading| reading.module_id == series.module_id);

    let found = store.recent(&series, limit, None).await.unwrap();

    assert_eq!(found, expected[expected.len().saturating_sub(limit as usize)..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_found_during_long_queries_and_a_cancelled_query_stops() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let endless =
        || store.read("count for ever", move |db| Ok(db.query_row(endless, [], |row| row.get::<_, i64>(0))?));
    {
        let queries = futures_util::future::join_all((0..readers::CONNECTIONS).map(|_| endless()));
        tokio::pin!(queries);

        let found = tokio::select! {
            biased;
            _ = &mut queries => unreachable!("an endless query has ended"),
            found = bounded(store.token(&[1; 32])) => found,
        };

        assert!(found.unwrap().is_none());
    }

    // The connections of the cancelled queries are free again.
    let (query, first) = (temperatures(true), PageRequest { limit: 1, cursor: None });
    assert!(bounded(store.readings(&query, &first)).await.unwrap().items.is_empty());
    store.close().await.unwrap();
}
