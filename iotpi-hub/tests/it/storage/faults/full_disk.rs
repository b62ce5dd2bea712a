//! A full disk: writes get 507, no acknowledged change is lost, reads continue, and writes resume by
//! themselves.

use std::{path::Path, time::Duration};

use iotpi_core::{
    HubClient, ModuleId, Quantity, Reading, Sample, Timestamp, UplinkError, model::error::ErrorKind,
};
use iotpi_hub::{
    Config, StorageConfig,
    auth::Role,
    store::{Now, Steady},
    testing::TestHub,
};

use super::{TestDatabase, disk::Image};
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
            // Consecutive numbers are compressed to almost nothing; random ones are not.
            let noise = f64::from_bits(noise.below(1 << 62));
            let samples = [(Quantity::Temperature, value as f64), (Quantity::Pressure, noise)];
            samples.map(|(of, value)| Reading::new(ModuleId::new("m").unwrap(), Sample::new(of, value), at))
        })
        .collect()
}

async fn stored(hub: &HubClient) -> Vec<u64> {
    let mut filter = iotpi_core::ReadingFilter::default().limit(1000).ascending();
    let mut values = Vec::new();
    loop {
        let page = hub.readings(&Quantity::Temperature.name(), &filter).await.unwrap();
        values.extend(page.items.iter().map(|reading| reading.outcome.value().unwrap() as u64));
        match page.next {
            None => return values,
            cursor => filter.cursor = cursor,
        }
    }
}

/// Fills the disk of a hub with its database at `path`; `free_space` then frees space.
async fn fill_disk(path: &Path, free_space: impl FnOnce()) {
    // Without a low-water mark the hub writes until the disk is full.
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
        assert!(sent < 10_000, "the disk did not fill");
    };

    assert!(sent > 0, "no batch was stored: {refused}");
    let UplinkError::Problem(problem) = &refused else { panic!("{refused:?}") };
    assert_eq!((problem.kind, problem.status), (ErrorKind::StorageFull, 507));
    // The reader is authenticated, and no batch is stored in part.
    let everything: Vec<u64> = (0..sent * 100).collect();
    assert_eq!(stored(&reader).await, everything);
    // A checkpoint may have freed a little space, which is soon used.
    while module.record(&batch(sent)).await.is_ok() {
        sent += 1;
        assert!(sent < 10_000, "the disk did not fill again");
    }

    free_space();

    module.record(&batch(sent)).await.unwrap();
    let everything: Vec<u64> = (0..(sent + 1) * 100).collect();
    assert_eq!(stored(&reader).await, everything);
    hub.stop().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_reported_and_writes_resume_with_free_space() {
    let database = TestDatabase::new(&Image::new());
    database.disk().set_capacity(Some(2 << 20));

    fill_disk(&database.path, || database.disk().set_capacity(None)).await;

    database.check_integrity();
}

/// On a real file system, which only root can mount.
#[tokio::test]
async fn a_full_tmpfs_is_reported_and_writes_resume_with_free_space() {
    let Some(folder) = Tmpfs::mount(3) else { return };
    let ballast = folder.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();

    fill_disk(&folder.path().join("hub.db"), || std::fs::remove_file(&ballast).unwrap()).await;
}

/// Fills a file system to the last byte.
fn fill_up(file: &Path) {
    use std::io::Write as _;
    let mut ballast = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
    for size in [65_536, 4_096, 512, 1] {
        while ballast.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Removes a module on a disk without a free byte; readings then use its space. Only root can mount the file
/// system.
#[tokio::test]
async fn a_full_disk_is_freed_through_the_api() {
    let Some(folder) = Tmpfs::mount(24) else { return };
    let storage = StorageConfig { low_water_bytes: 0, ..StorageConfig::default() };
    let path = folder.path().join("hub.db");
    let config = Config { storage, ..Config::default() };
    let hub = TestHub::with_store(config, &format!("sqlite://{}", path.display())).await.unwrap();
    let api = Api::of(hub).await;
    let hub = &api.hub;
    hub.store().maintain(now()).await.unwrap();
    let reserve = folder.path().join("hub.db.reserve");
    assert!(reserve.exists());
    let client_of = async |id: &str| {
        let token = hub.module_token(&ModuleId::new(id).unwrap()).await.unwrap();
        HubClient::new(&hub.url()).unwrap().with_token(token)
    };
    let (module, other) = (client_of("m").await, client_of("other").await);
    for n in 0..100 {
        module.record(&batch(n)).await.unwrap();
    }
    let of_other = |mut readings: Vec<Reading>| {
        for reading in &mut readings {
            reading.module_id = ModuleId::new("other").unwrap();
        }
        readings
    };
    let mut sent = 0;
    loop {
        fill_up(&folder.path().join("ballast"));
        if other.record(&of_other(batch(sent))).await.is_err() {
            break;
        }
        sent += 1;
        assert!(sent < 10_000, "the disk did not fill");
    }

    assert_eq!(api.delete("/api/modules/m").send().await.status, 204);
    hub.store().compact().await.unwrap();

    assert!(hub.store().disk_use().await.unwrap().reusable_bytes > 0);
    for n in sent..sent + 10 {
        other.record(&of_other(batch(n))).await.unwrap();
    }
    api.stop().await;
}
