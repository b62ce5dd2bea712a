//! Every operation fails once, and every operation fails for good: what was acknowledged is kept, and after a
//! failure that cannot be mended nothing is acknowledged any more.

use std::collections::BTreeMap;

use iotpi_hub::store::Store;

use super::{
    Rig,
    disk::{Fault, Image, Operation, Trouble},
    ledger::Ledger,
    power_cut::{Used, rehearse, used},
    run,
    workload::{Kind, poll_once},
};
use crate::support::seeded_random::{SeededRandom, torture};

/// What is going on when the disk fails.
struct Scenario {
    image: Image,
    ledger: Ledger,
    kind: Kind,
    rounds: u32,
    /// The disk fails from the opening on, else while the store is in use.
    while_opening: bool,
    /// Every so manieth operation is tried; each, under torture.
    step: usize,
}

/// Plays the scenario with its n-th operation failing; says which that was, if it came to it.
fn play(scenario: &Scenario, n: u64, times: u64, trouble: Trouble) -> Option<Operation> {
    let rig = Rig::new(&scenario.image);
    let mut ledger = scenario.ledger.clone();
    let mut random = SeededRandom::new(n);
    let mut same = SeededRandom::new(1);
    let fault = Fault::Error { at: n, times, trouble };

    run(async {
        if scenario.while_opening {
            rig.disk().arrange(fault);
        }
        if let Ok(store) = rig.open().await {
            if !scenario.while_opening {
                rig.disk().arrange(fault);
            }
            for _ in 0..scenario.rounds {
                let before = (has_failed(store.as_ref()).await, ledger.acknowledged());
                ledger.round(store.as_ref(), rig.disk(), scenario.kind, &mut same, true).await;
                if before.0 {
                    assert_eq!(ledger.acknowledged(), before.1, "acknowledged after a fatal failure");
                    assert!(store.check().await.is_err());
                }
            }
            if rig.disk().fault_met() == Some(Operation::Sync) && trouble == Trouble::Io {
                assert!(
                    has_failed(store.as_ref()).await,
                    "a sync failed, of a commit or when writing back, and it goes on"
                );
            }
            let _ = store.close().await;
        }
        let met = rig.disk().fault_met();

        // The process ends. The machine goes on, or the power goes too: what a failed sync did not write is
        // gone then.
        if n.is_multiple_of(2) {
            rig.disk().power_cycle(&mut random);
        } else {
            rig.disk().restart();
        }
        let store = rig.open().await.unwrap();
        assert!(!has_failed(store.as_ref()).await);
        ledger.send_again(store.as_ref()).await;
        ledger.check(store.as_ref()).await;
        ledger.check_leases(store.as_ref()).await;
        ledger.round(store.as_ref(), rig.disk(), Kind::Readings, &mut random, false).await;
        ledger.check(store.as_ref()).await;
        store.close().await.unwrap();
        drop(store);
        rig.check_integrity();
        met
    })
}

async fn has_failed(store: &dyn Store) -> bool {
    poll_once(std::pin::pin!(store.failed())).await.is_ready()
}

/// Lets every operation fail in turn: once and from then on, with an I/O error and for want of room.
fn every_operation(test: &str, scenario: &Scenario) {
    let mut met = BTreeMap::new();
    let mut runs = 0;
    for (times, trouble) in
        [(1, Trouble::Io), (u64::MAX, Trouble::Io), (1, Trouble::Full), (u64::MAX, Trouble::Full)]
    {
        let step = if torture() { 1 } else { scenario.step };
        for n in (1..).step_by(step) {
            runs += 1;
            let at = format!("{test}: operation {n}, {times} times, {trouble:?}");
            let _said = Said(at);
            match play(scenario, n, times, trouble) {
                Some(operation) => *met.entry(operation).or_insert(0) += 1,
                None => break,
            }
        }
    }
    println!("{test}: {runs} runs, failures met {met:?}");
    assert!(met.contains_key(&Operation::Write) && met.contains_key(&Operation::Sync), "{met:?}");
}

/// Says on a panic what was being tried.
struct Said(String);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("\n{}\n", self.0);
        }
    }
}

#[test]
fn any_operation_may_fail_while_readings_come_in() {
    let Used { image, ledger, .. } = used();
    // So many that it comes to a checkpoint.
    let scenario =
        Scenario { image, ledger, kind: Kind::Readings, rounds: 16, while_opening: false, step: 5 };

    every_operation("readings", &scenario);
}

#[test]
fn any_operation_may_fail_while_commands_are_submitted_and_finished() {
    let (_, image, ledger) = rehearse(&Image::new(), Ledger::new(), 3);
    let scenario =
        Scenario { image, ledger, kind: Kind::Commands, rounds: 16, while_opening: false, step: 5 };

    every_operation("commands", &scenario);
}

#[test]
fn any_operation_may_fail_while_the_store_opens_and_recovers() {
    let rig = Rig::new(&Image::new());
    let mut ledger = Ledger::new();
    let image = run(async {
        let store = rig.open().await.unwrap();
        for _ in 0..4 {
            ledger
                .round(store.as_ref(), rig.disk(), Kind::Everything, &mut SeededRandom::new(5), false)
                .await;
        }
        // As a killed process leaves it: with a WAL.
        rig.disk().image()
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
