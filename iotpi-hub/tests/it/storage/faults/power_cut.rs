//! The power goes at any operation; what was acknowledged is there when it comes back.

use std::{collections::BTreeSet, time::Instant};

use super::{
    Rig,
    disk::{Fault, Image, Operation},
    ledger::Ledger,
    run,
    workload::Kind,
};
use crate::support::seeded_random::{PrintSeedOnPanic, SeededRandom, seeds};

/// Rounds of a case, when the power does not go before.
const ROUNDS: u32 = 40;
/// Bytes of WAL a case begins with, so that it comes to a checkpoint (at 1,000 pages) and beyond.
const BEGINS_WITH: usize = 950 * 536;

/// A database that has been in use, its WAL nearly due to be written back, and what is in it.
pub struct Used {
    pub image: Image,
    pub ledger: Ledger,
    /// How many operations a case has.
    operations: u64,
}

fn wal(image: &Image) -> usize {
    image.get("hub.db-wal").map_or(0, Vec::len)
}

/// Does what a case does, without a power cut; says what the disk was asked to do.
pub fn rehearse(image: &Image, mut ledger: Ledger, seed: u64) -> (Vec<Operation>, Image, Ledger) {
    let rig = Rig::new(image);
    let mut random = SeededRandom::new(seed);
    run(async {
        let store = rig.open().await.unwrap();
        for _ in 0..ROUNDS {
            ledger.round(store.as_ref(), rig.disk(), Kind::Everything, &mut random, false).await;
        }
        (rig.disk().done(), rig.disk().image(), ledger)
    })
}

pub fn used() -> Used {
    let rig = Rig::new(&Image::new());
    let (mut random, mut ledger) = (SeededRandom::new(0), Ledger::new());
    // What is left when the process is killed: the database, and the WAL beside it.
    let image = run(async {
        let store = rig.open().await.unwrap();
        for _ in 0..20_000 {
            ledger.round(store.as_ref(), rig.disk(), Kind::Everything, &mut random, false).await;
            let image = rig.disk().image();
            if wal(&image) >= BEGINS_WITH {
                return image;
            }
        }
        panic!("the WAL never grows");
    });
    let (done, after, _) = rehearse(&image, ledger.clone(), 1);
    assert_ne!(after["hub.db"], image["hub.db"], "a case comes to a checkpoint");
    Used { image, ledger, operations: done.len() as u64 }
}

/// One power cut, or two, and what was left.
fn case(seed: u64, used: &Used) -> usize {
    let mut random = SeededRandom::new(seed);
    let nothing = Image::new();
    let (image, mut ledger) =
        if random.one_in(4) { (&nothing, Ledger::new()) } else { (&used.image, used.ledger.clone()) };
    let mut rig = Rig::new(image);
    // Every second case folds what it records as it goes, so that the power goes while records move.
    rig.compact_at = random.one_in(2).then(|| 1 + random.index(200));
    rig.disk().arrange(Fault::PowerCut { at: 1 + random.below(used.operations) });

    run(async {
        if let Ok(store) = rig.open().await {
            for _ in 0..ROUNDS {
                ledger.round(store.as_ref(), rig.disk(), Kind::Everything, &mut random, true).await;
                if rig.disk().is_dead() {
                    break;
                }
            }
        }
        rig.disk().power_cycle(&mut random);
        if random.one_in(3) {
            // It goes again while the hub comes up.
            rig.disk().arrange(Fault::PowerCut { at: 1 + random.below(60) });
            drop(rig.open().await);
            rig.disk().power_cycle(&mut random);
        }

        let store = rig.open().await.unwrap();
        ledger.send_again(store.as_ref()).await;
        ledger.check(store.as_ref()).await;
        ledger.check_leases(store.as_ref()).await;
        for _ in 0..3 {
            ledger.round(store.as_ref(), rig.disk(), Kind::Everything, &mut random, false).await;
        }
        ledger.check(store.as_ref()).await;
        store.close().await.unwrap();
        drop(store);
        rig.check_integrity();
    });
    ledger.acknowledged()
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_operation() {
    let used = used();
    let began = Instant::now();

    let (mut cuts, mut kept) = (0, 0);
    for seed in seeds(250, 20_000) {
        let _print_seed = PrintSeedOnPanic { test: "power_cut", seed };
        kept += case(seed, &used);
        cuts += 1;
    }

    println!(
        "{cuts} power cuts among {} operations: {kept} acknowledged readings, 0 lost; {:.1} s",
        used.operations,
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn the_same_seed_causes_the_same_disk_operations() {
    let (first, ..) = rehearse(&Image::new(), Ledger::new(), 7);
    let (second, ..) = rehearse(&Image::new(), Ledger::new(), 7);
    let (other, ..) = rehearse(&Image::new(), Ledger::new(), 8);

    assert_eq!(first, second);
    assert_ne!(first, other);
    let kinds: BTreeSet<_> = first.into_iter().collect();
    assert!(kinds.contains(&Operation::Sync) && kinds.contains(&Operation::Write), "{kinds:?}");
}
