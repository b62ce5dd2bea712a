//! Every disk operation fails, once or from then on: no acknowledged change is lost, and after a fatal
//! failure nothing is acknowledged any more.

use std::collections::BTreeMap;

use iotpi_hub::store::Store;

use super::{
    TestDatabase,
    disk::{DiskError, Fault, Image, Operation},
    ledger::Ledger,
    power_cut::{SampleDatabase, run_without_fault, sample_database},
    run,
    workload::{Kind, poll_once},
};
use crate::support::seeded_random::{SeededRandom, torture};

/// The workload during which the disk fails.
struct Scenario {
    image: Image,
    ledger: Ledger,
    kind: Kind,
    rounds: u32,
    /// The disk fails while the store opens, or else while it is in use.
    while_opening: bool,
    /// The interval of the operations that fail. Under torture every operation does.
    step: usize,
}

/// Runs the scenario with a failure of its n-th operation. Returns that operation, if there was one.
fn run_scenario(scenario: &Scenario, n: u64, times: u64, error: DiskError) -> Option<Operation> {
    let database = TestDatabase::new(&scenario.image);
    let mut ledger = scenario.ledger.clone();
    let mut random = SeededRandom::new(n);
    let mut workload_random = SeededRandom::new(1);
    let fault = Fault::Error { at: n, times, error };

    run(async {
        if scenario.while_opening {
            database.disk().inject(fault);
        }
        if let Ok(store) = database.open().await {
            if !scenario.while_opening {
                database.disk().inject(fault);
            }
            for _ in 0..scenario.rounds {
                let before = (has_failed(store.as_ref()).await, ledger.acknowledged());
                ledger
                    .round(store.as_ref(), database.disk(), scenario.kind, &mut workload_random, true)
                    .await;
                if before.0 {
                    assert_eq!(ledger.acknowledged(), before.1, "acknowledged after a fatal failure");
                    assert!(store.check().await.is_err());
                }
            }
            if database.disk().failed_operation() == Some(Operation::Sync) && error == DiskError::Io {
                assert!(has_failed(store.as_ref()).await, "the store continues after a failed sync");
            }
            let _ = store.close().await;
        }
        let failed = database.disk().failed_operation();

        // The process ends. If the power is cut too, the changes of a failed sync are lost.
        if n.is_multiple_of(2) {
            database.disk().power_cycle(&mut random);
        } else {
            database.disk().restart();
        }
        let store = database.open().await.unwrap();
        assert!(!has_failed(store.as_ref()).await);
        ledger.send_again(store.as_ref()).await;
        ledger.check(store.as_ref()).await;
        ledger.check_leases(store.as_ref()).await;
        ledger.round(store.as_ref(), database.disk(), Kind::Readings, &mut random, false).await;
        ledger.check(store.as_ref()).await;
        store.close().await.unwrap();
        drop(store);
        database.check_integrity();
        failed
    })
}

async fn has_failed(store: &dyn Store) -> bool {
    poll_once(std::pin::pin!(store.failed())).await.is_ready()
}

/// Lets every operation fail in turn: once and from then on, with an I/O error and with a full disk.
fn every_operation(test: &str, scenario: &Scenario) {
    let mut failures = BTreeMap::new();
    let mut runs = 0;
    for (times, error) in
        [(1, DiskError::Io), (u64::MAX, DiskError::Io), (1, DiskError::Full), (u64::MAX, DiskError::Full)]
    {
        let step = if torture() { 1 } else { scenario.step };
        for n in (1..).step_by(step) {
            runs += 1;
            let at = format!("{test}: operation {n}, {times} times, {error:?}");
            let _print = PrintOnPanic(at);
            match run_scenario(scenario, n, times, error) {
                Some(operation) => *failures.entry(operation).or_insert(0) += 1,
                None => break,
            }
        }
    }
    println!("{test}: {runs} runs, failures {failures:?}");
    assert!(
        failures.contains_key(&Operation::Write) && failures.contains_key(&Operation::Sync),
        "{failures:?}"
    );
}

/// Prints the case on a panic.
struct PrintOnPanic(String);

impl Drop for PrintOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("\n{}\n", self.0);
        }
    }
}

#[test]
fn any_operation_may_fail_while_readings_come_in() {
    let SampleDatabase { image, ledger, .. } = sample_database();
    // Enough rounds for a checkpoint.
    let scenario =
        Scenario { image, ledger, kind: Kind::Readings, rounds: 16, while_opening: false, step: 5 };

    every_operation("readings", &scenario);
}

#[test]
fn any_operation_may_fail_while_commands_are_submitted_and_finished() {
    let (_, image, ledger) = run_without_fault(&Image::new(), Ledger::new(), 3);
    let scenario =
        Scenario { image, ledger, kind: Kind::Commands, rounds: 16, while_opening: false, step: 5 };

    every_operation("commands", &scenario);
}

#[test]
fn any_operation_may_fail_while_the_store_opens_and_recovers() {
    let database = TestDatabase::new(&Image::new());
    let mut ledger = Ledger::new();
    let image = run(async {
        let store = database.open().await.unwrap();
        for _ in 0..4 {
            ledger
                .round(store.as_ref(), database.disk(), Kind::Everything, &mut SeededRandom::new(5), false)
                .await;
        }
        // A killed process leaves a WAL.
        database.disk().image()
    });
    assert!(image["hub.db-wal"].len() > 4096);
    let scenario =
        Scenario { image, ledger, kind: Kind::Everything, rounds: 2, while_opening: true, step: 3 };

    every_operation("start", &scenario);
}

#[test]
fn any_operation_may_fail_while_a_database_is_created() {
    let scenario = Scenario {
        image: Image::new(),
        ledger: Ledger::new(),
        kind: Kind::Everything,
        rounds: 1,
        while_opening: true,
        step: 3,
    };

    every_operation("a new database", &scenario);
}
