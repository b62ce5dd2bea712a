//! The readers: what they may, what they cost, and that pages make the whole list.

use std::{collections::BTreeMap, time::Duration};

use iotpi_core::{ModuleId, Quantity, Reading, Timestamp};
use proptest::prelude::*;

use super::{NOW, open, reading, temperatures, whole};
use crate::store::{
    MaintainStore as _, PageRequest, ReadReadings as _, ReadUsers as _, SeriesKey, StoreError, StoreOptions,
    WriteReadings as _,
    sqlite::{
        Sqlite, commands,
        failure::EngineResult,
        readers,
        series::{bucket_sums, merge, readings, rollup_blocks},
        writer::WriteContext,
    },
};

/// The statements that are run for each series, page or command.
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

    let answer = store.read("try", |db| Ok(db.execute("DELETE FROM progress", [])?)).await;

    assert!(matches!(answer, Err(StoreError::Engine { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_query_that_panics_returns_its_connection() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("hub.db")).await.unwrap();

    for _ in 0..2 * readers::CONNECTIONS {
        let answer = store.read("panic", |_| -> EngineResult<()> { panic!("on purpose") }).await;
        assert!(matches!(answer, Err(StoreError::Engine { .. })), "{answer:?}");
    }

    assert!(!store.has_users().await.unwrap());
}

#[tokio::test]
async fn no_list_query_scans_or_sorts_a_table() {
    let store = Sqlite::open(":memory:", StoreOptions::default()).await.unwrap();
    let plans = |db: &mut WriteContext<'_>| {
        let plan = |sql: &str| -> rusqlite::Result<String> {
            let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            // Without parameters: the plan is what they leave open.
            let steps = explain.raw_query().mapped(|row| row.get::<_, String>(3));
            Ok(steps.collect::<Result<Vec<_>, _>>()?.join("; "))
        };
        Ok(STATEMENTS.map(plan).into_iter().collect::<Result<Vec<_>, _>>()?)
    };

    for plan in store.write("explain", plans).await.unwrap() {
        assert!(plan.contains("SEARCH") && !plan.contains("SCAN") && !plan.contains("TEMP"), "{plan}");
    }
}

/// SQLite prepares a statement anew when its plan was chosen by the value of a parameter and that changes, which takes several times
/// as long as a query of a few rows.
#[tokio::test]
async fn no_statement_is_prepared_again_for_other_parameters() {
    let store = Sqlite::open(":memory:", StoreOptions::default()).await.unwrap();
    let prepared = |db: &mut WriteContext<'_>| {
        let anew = |sql: &str| -> rusqlite::Result<i32> {
            let mut statement = db.prepare(sql)?;
            for value in 1..4 {
                for parameter in 1..=statement.parameter_count() {
                    statement.raw_bind_parameter(parameter, value)?;
                }
                statement.raw_query().next()?;
            }
            Ok(statement.get_status(rusqlite::StatementStatus::RePrepare))
        };
        Ok(STATEMENTS.map(anew).into_iter().collect::<Result<Vec<_>, _>>()?)
    };

    let anew = store.write("prepare", prepared).await.unwrap();

    for (statement, times) in STATEMENTS.iter().zip(anew) {
        assert_eq!(times, 0, "{statement}");
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
        let taken: Vec<_> = data.iter().map(|(of, n)| reading(["a", "b", "c", "d"][*of], *n)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

        runtime.block_on(async {
            let store = Sqlite::open(":memory:", StoreOptions { compact_at, ..StoreOptions::default() }).await.unwrap();
            for reading in &taken {
                store.record(vec![reading.clone()], 10, NOW).await.unwrap();
            }
            records_are_whole(&store, &taken, limit, ascending).await;
            stretches_are_whole(&store, &taken, limit, width_us).await;
            recent_records_are_the_end(&store, &taken, limit).await;
        });
    }
}

#[tokio::test]
async fn a_reading_after_the_latest_time_of_one_query_is_the_newest_of_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let store = open(&path).await.unwrap();
    store.record(vec![reading("a", 1), reading("a", 20)], 10, NOW).await.unwrap();
    store.settle().await.unwrap();
    store.close().await.unwrap();
    // No newest record is in memory.
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

/// What the store should give back, oldest first: sorted by time, then module, stably, because they came in this order.
fn kept(taken: &[Reading]) -> Vec<Reading> {
    let received_at = Some(NOW.wall);
    let mut kept: Vec<_> = taken.iter().map(|reading| Reading { received_at, ..reading.clone() }).collect();
    kept.sort_by_key(|reading| (reading.taken_at, reading.module_id.clone()));
    kept
}

async fn records_are_whole(store: &Sqlite, taken: &[Reading], limit: u32, ascending: bool) {
    let query = temperatures(ascending);
    let mut expected = kept(taken);
    if !ascending {
        expected.reverse();
    }

    let found = whole(limit, async |page| store.readings(&query, &page).await.unwrap()).await;

    assert_eq!(found, expected);
}

async fn stretches_are_whole(store: &Sqlite, taken: &[Reading], limit: u32, width_us: i64) {
    let (query, width) = (temperatures(true), Duration::from_micros(width_us.unsigned_abs()));
    let mut expected = BTreeMap::new();
    for reading in taken {
        let micros = reading.taken_at.as_micros();
        *expected.entry((micros - micros % width_us, reading.module_id.clone())).or_insert(0) += 1;
    }

    let found = whole(limit, async |page| store.buckets(&query, width, &page).await.unwrap()).await;

    let found: Vec<_> =
        found.into_iter().map(|b| ((b.start.as_micros(), b.module_id), b.count.unwrap())).collect();
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
}

async fn recent_records_are_the_end(store: &Sqlite, taken: &[Reading], limit: u32) {
    let series = SeriesKey { module_id: ModuleId::new("a").unwrap(), sensor: Quantity::Temperature.name() };
    let mut expected = kept(taken);
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

        let looked_up = tokio::select! {
            biased;
            _ = &mut queries => unreachable!("an endless query has ended"),
            found = store.token(&[1; 32]) => found,
        };

        assert!(looked_up.unwrap().is_none());
    }

    // Their connections are free again.
    let query = temperatures(true);
    assert!(store.readings(&query, &PageRequest { limit: 1, cursor: None }).await.unwrap().items.is_empty());
    store.close().await.unwrap();
}
