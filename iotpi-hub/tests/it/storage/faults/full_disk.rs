//! No room: `507`, nothing acknowledged is lost, reads and login go on, and writes come back by themselves.

use std::{path::Path, time::Duration};

use iotpi_core::{ErrorKind, HubClient, ModuleId, Quantity, Reading, Sample, Timestamp, UplinkError};
use iotpi_hub::{
    Config, StorageConfig,
    auth::Role,
    store::{Now, Steady},
    testing::TestHub,
};

use super::{Rig, disk::Image};
use crate::support::{api::Api, seeded_random::SeededRandom, tmpfs::Tmpfs};

fn now() -> Now {
    let wall = Timestamp::from_micros(1_795_472_000_000_000);
    Now { wall, steady: Steady(wall) }
}

fn batch(n: u64) -> Vec<Reading> {
    let mut noise = SeededRandom::new(n);
    (n * 100..n * 100 + 100)
        .flat_map(|value| {
            let at = Timestamp::from_micros(1_795_472_000_000_000).plus(Duration::from_secs(value));
            // Numbers in order are compressed to next to nothing; noise is not.
            let noise = f64::from_bits(noise.below(1 << 62));
            let samples = [(Quantity::Temperature, value as f64), (Quantity::Pressure, noise)];
            samples.map(|(of, value)| Reading::new(ModuleId::new("m").unwrap(), Sample::new(of, value), at))
        })
        .collect()
}

async fn kept(hub: &HubClient) -> Vec<u64> {
    let mut filter = iotpi_core::ReadingFilter {
        limit: Some(1000),
        ascending: true,
        ..iotpi_core::ReadingFilter::default()
    };
    let mut kept = Vec::new();
    loop {
        let page = hub.readings(&Quantity::Temperature.name(), &filter).await.unwrap();
        kept.extend(page.items.iter().map(|reading| reading.outcome.value().unwrap() as u64));
        match page.next {
            None => return kept,
            cursor => filter.cursor = cursor,
        }
    }
}

/// Fills the disk under a hub at `path`; `make_room` then makes some.
async fn fill(path: &Path, make_room: impl FnOnce()) {
    // The disk is fuller than the hub would let it become by itself.
    let storage = StorageConfig { low_water_bytes: 0, ..StorageConfig::default() };
    let config = Config { storage, ..Config::default() };
    let hub = TestHub::with_store(config, &format!("sqlite://{}", path.display())).await.unwrap();
    let module = HubClient::new(&hub.url())
        .unwrap()
        .with_token(hub.module_token(&ModuleId::new("m").unwrap()).await.unwrap());
    let reader = HubClient::new(&hub.url()).unwrap().with_token(hub.token(Role::Viewer).await.unwrap());

    let mut sent = 0;
    let refused = loop {
        match module.record(&batch(sent)).await {
            Ok(_) => sent += 1,
            Err(refused) => break refused,
        }
        assert!(sent < 10_000, "the disk never fills");
    };

    assert!(sent > 0, "something fits: {refused}");
    let UplinkError::Problem(problem) = &refused else { panic!("{refused:?}") };
    assert_eq!((problem.kind, problem.status), (ErrorKind::StorageFull, 507));
    // Who asks is answered, the token is looked up, and nothing is half there.
    let everything: Vec<u64> = (0..sent * 100).collect();
    assert_eq!(kept(&reader).await, everything);
    // A write-back meanwhile may have made a little room, which is soon taken.
    while module.record(&batch(sent)).await.is_ok() {
        sent += 1;
        assert!(sent < 10_000, "the disk never fills again");
    }

    make_room();

    module.record(&batch(sent)).await.unwrap();
    let everything: Vec<u64> = (0..(sent + 1) * 100).collect();
    assert_eq!(kept(&reader).await, everything);
    hub.stop().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_reported_and_writes_resume_with_free_space() {
    let rig = Rig::new(&Image::new());
    rig.disk().set_capacity(Some(2 << 20));

    fill(&rig.path, || rig.disk().set_capacity(None)).await;

    rig.check_integrity();
}

/// The same on a file system of the kernel's. Mounting one needs root.
#[tokio::test]
async fn a_full_tmpfs_is_reported_and_writes_resume_with_free_space() {
    let Some(folder) = Tmpfs::mount(3) else { return };
    let ballast = folder.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();

    fill(&folder.path().join("hub.db"), || std::fs::remove_file(&ballast).unwrap()).await;
}

/// Fills what is left of a file system, to the last byte.
fn fill_up(file: &Path) {
    use std::io::Write as _;
    let mut ballast = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
    for size in [65_536, 4_096, 512, 1] {
        while ballast.write_all(&vec![0; size]).is_ok() {}
    }
}

/// A module removed on a disk without a free byte: that works, and readings have its room. Mounting one needs
/// root.
#[tokio::test]
async fn a_full_disk_is_freed_through_the_api() {
    let Some(folder) = Tmpfs::mount(24) else { return };
    let storage = StorageConfig { low_water_bytes: 0, ..StorageConfig::default() };
    let path = folder.path().join("hub.db");
    let config = Config { storage, ..Config::default() };
    let hub = TestHub::with_store(config, &format!("sqlite://{}", path.display())).await.unwrap();
    let api = Api::of(hub).await;
    let hub = &api.hub;
    hub.store().tend(now()).await.unwrap();
    let reserve = folder.path().join("hub.db.reserve");
    assert!(reserve.exists());
    let of = async |id: &str| {
        let token = hub.module_token(&ModuleId::new(id).unwrap()).await.unwrap();
        HubClient::new(&hub.url()).unwrap().with_token(token)
    };
    let (module, other) = (of("m").await, of("other").await);
    for n in 0..100 {
        module.record(&batch(n)).await.unwrap();
    }
    let in_its_name = |readings: Vec<Reading>| {
        let id = ModuleId::new("other").unwrap();
        readings.into_iter().map(|reading| Reading { module_id: id.clone(), ..reading }).collect::<Vec<_>>()
    };
    let mut sent = 0;
    loop {
        fill_up(&folder.path().join("ballast"));
        if other.record(&in_its_name(batch(sent))).await.is_err() {
            break;
        }
        sent += 1;
        assert!(sent < 10_000, "the disk never fills");
    }

    assert_eq!(api.delete("/api/modules/m").send().await.status, 204);
    hub.store().settle().await.unwrap();

    assert!(hub.store().disk_use().await.unwrap().reusable_bytes > 0);
    for n in sent..sent + 10 {
        other.record(&in_its_name(batch(n))).await.unwrap();
    }
    api.stop().await;
}
