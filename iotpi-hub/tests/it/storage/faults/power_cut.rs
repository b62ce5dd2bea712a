//! The power is cut at any disk operation; every acknowledged change is stored afterwards.

use std::{collections::BTreeSet, time::Instant};

use super::{
    TestDatabase,
    disk::{Fault, Image, Operation},
    ledger::Ledger,
    run,
    workload::Kind,
};
use crate::support::seeded_random::{PrintSeedOnPanic, SeededRandom, seeds};

/// The rounds of a case without a power cut.
const ROUNDS: u32 = 40;
/// The size of the WAL at the start of a case, so that it includes a checkpoint (at 2,000 pages).
const WAL_BYTES: usize = 1950 * 536;

/// A database shortly before a checkpoint, with the ledger of its contents.
pub struct SampleDatabase {
    pub image: Image,
    pub ledger: Ledger,
    /// The number of disk operations of a case.
    operations: u64,
}

fn wal(image: &Image) -> usize {
    image.get("hub.db-wal").map_or(0, Vec::len)
}

/// Runs the workload of a case without a fault. Returns the disk operations, the files and the ledger.
pub fn run_without_fault(image: &Image, mut ledger: Ledger, seed: u64) -> (Vec<Operation>, Image, Ledger) {
    let database = TestDatabase::new(image);
    let mut random = SeededRandom::new(seed);
    run(async {
        let store = database.open().await.unwrap();
        for _ in 0..ROUNDS {
            ledger.round(store.as_ref(), database.disk(), Kind::Everything, &mut random, false).await;
        }
        (database.disk().operations(), database.disk().image(), ledger)
    })
}

pub fn sample_database() -> SampleDatabase {
    let database = TestDatabase::new(&Image::new());
    let (mut random, mut ledger) = (SeededRandom::new(0), Ledger::new());
    // A killed process leaves the database and its WAL.
    let image = run(async {
        let store = database.open().await.unwrap();
        for _ in 0..20_000 {
            ledger.round(store.as_ref(), database.disk(), Kind::Everything, &mut random, false).await;
            let image = database.disk().image();
            if wal(&image) >= WAL_BYTES {
                return image;
            }
        }
        panic!("the WAL did not grow");
    });
    let (done, after, _) = run_without_fault(&image, ledger.clone(), 1);
    assert_ne!(after["hub.db"], image["hub.db"], "a case without a checkpoint");
    SampleDatabase { image, ledger, operations: done.len() as u64 }
}

/// Cuts the power once or twice and checks the contents. Returns the number of acknowledged readings.
fn case(seed: u64, sample: &SampleDatabase) -> usize {
    let mut random = SeededRandom::new(seed);
    let nothing = Image::new();
    let (image, mut ledger) =
        if random.one_in(4) { (&nothing, Ledger::new()) } else { (&sample.image, sample.ledger.clone()) };
    let mut database = TestDatabase::new(image);
    // Half of the cases compact after few readings, so that the power cut can interrupt a compaction.
    database.compact_at = random.one_in(2).then(|| 1 + random.index(200));
    database.disk().inject(Fault::PowerCut { at: 1 + random.below(sample.operations) });

    run(async {
        if let Ok(store) = database.open().await {
            for _ in 0..ROUNDS {
                ledger.round(store.as_ref(), database.disk(), Kind::Everything, &mut random, true).await;
                if database.disk().is_powered_off() {
                    break;
                }
            }
        }
        database.disk().power_cycle(&mut random);
        if random.one_in(3) {
            // A second power cut during recovery.
            database.disk().inject(Fault::PowerCut { at: 1 + random.below(60) });
            drop(database.open().await);
            database.disk().power_cycle(&mut random);
        }

        let store = database.open().await.unwrap();
        ledger.send_again(store.as_ref()).await;
        ledger.check(store.as_ref()).await;
        ledger.check_leases(store.as_ref()).await;
        for _ in 0..3 {
            ledger.round(store.as_ref(), database.disk(), Kind::Everything, &mut random, false).await;
        }
        ledger.check(store.as_ref()).await;
        store.close().await.unwrap();
        drop(store);
        database.check_integrity();
    });
    ledger.acknowledged()
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_operation() {
    let sample = sample_database();
    let began = Instant::now();

    let (mut cuts, mut acknowledged) = (0, 0);
    for seed in seeds(250, 20_000) {
        let _print_seed = PrintSeedOnPanic { test: "power_cut", seed };
        acknowledged += case(seed, &sample);
        cuts += 1;
    }

    println!(
        "{cuts} power cuts among {} operations: {acknowledged} acknowledged readings, 0 lost; {:.1} s",
        sample.operations,
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn the_same_seed_causes_the_same_disk_operations() {
    let (first, ..) = run_without_fault(&Image::new(), Ledger::new(), 7);
    let (second, ..) = run_without_fault(&Image::new(), Ledger::new(), 7);
    let (other, ..) = run_without_fault(&Image::new(), Ledger::new(), 8);

    assert_eq!(first, second);
    assert_ne!(first, other);
    let kinds: BTreeSet<_> = first.into_iter().collect();
    assert!(kinds.contains(&Operation::Sync) && kinds.contains(&Operation::Write), "{kinds:?}");
}
