//! A database file that is deleted, replaced or overwritten while the hub uses it: `/health` says so, and the
//! store fails for good, which ends the program.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Method;
use iotpi_core::{Quantity, Reading, Sample, Timestamp};
use iotpi_hub::{
    Config,
    store::{Now, Steady},
    testing::TestHub,
};
use serde_json::json;

use crate::support::api::{Api, NOW, id};

/// The hub looks every 2 s; whoever waits so long has failed.
const DEADLINE: Duration = Duration::from_secs(60);

struct Home {
    api: Api,
    database: PathBuf,
    _folder: tempfile::TempDir,
}

impl Home {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("hub.db");
        let store = format!("sqlite://{}", database.display());
        let api = Api::of(TestHub::opened(Config { store, ..Config::default() }).await.unwrap()).await;
        Self { api, database, _folder: folder }
    }

    /// So many readings that the file of the database has them, and not only its WAL.
    async fn fill(&self) {
        let now = Now { wall: NOW, steady: Steady(NOW) };
        let store = self.api.hub.store();
        let reading = |n: u64| {
            let taken_at = Timestamp::from_micros(NOW.as_micros() + i64::try_from(n).unwrap());
            Reading::new(id("attic"), Sample::new(Quantity::Temperature, noise(n)), taken_at)
        };
        for batch in (0..120_000).collect::<Vec<_>>().chunks(2_000) {
            store.record(batch.iter().map(|n| reading(*n)).collect(), 10, now).await.unwrap();
        }
        store.settle().await.unwrap();
        assert!(fs::metadata(&self.database).unwrap().len() > 300_000);
    }

    /// Waits until the store has failed for good. Answers why, and what `/health` and the storage page say.
    async fn failed(&self) -> (String, serde_json::Value, String) {
        let failed = tokio::time::timeout(DEADLINE, self.api.hub.hub().failed());
        let why = failed.await.expect("it is noticed");
        let health = self.api.open(Method::GET, "/health").send().await;
        assert_eq!(health.status, 503);
        let metrics = self.api.metrics().await;
        (why, health.json(), metrics)
    }
}

fn noise(n: u64) -> f64 {
    // SplitMix64 (Steele et al. 2014): not compressed to nothing.
    let mut z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    f64::from_bits(0x3FF0_0000_0000_0000 | ((z ^ (z >> 31)) >> 12))
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[tokio::test]
async fn the_deletion_of_the_database_of_a_running_hub_is_detected() {
    for (part, name) in [("", "database"), ("-wal", "WAL"), ("-shm", "index of the WAL")] {
        let home = Home::new().await;
        assert_eq!(home.api.open(Method::GET, "/health").ok().await["problem"], json!(null));

        fs::remove_file(beside(&home.database, part)).unwrap();
        let (why, health, _) = home.failed().await;

        let said = format!("the file of the {name} was deleted while the hub used it");
        assert_eq!(why, said);
        assert_eq!(health["status"], json!("failing"));
        assert_eq!(health["problem"], json!(format!("The store fails: {said}.")));
        let refused = home.api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": 1}));
        assert_eq!(refused.send().await.status, 500);
        home.api.stop().await;
    }
}

#[tokio::test]
async fn the_replacement_of_the_database_of_a_running_hub_is_detected() {
    let home = Home::new().await;
    let copy = home.database.with_file_name("copy.db");
    home.api.hub.store().backup(&copy).await.unwrap();

    fs::rename(&copy, &home.database).unwrap();
    let (why, ..) = home.failed().await;

    assert!(why.contains("replaced by another"), "{why}");
    home.api.stop().await;
}

#[tokio::test]
async fn pages_overwritten_by_another_program_are_detected() {
    let home = Home::new().await;
    home.fill().await;

    let file = fs::OpenOptions::new().write(true).open(&home.database).unwrap();
    let middle = fs::metadata(&home.database).unwrap().len() / 2 / 512 * 512;
    file.write_all_at(&[0x5a; 16 * 512], middle).unwrap();
    let (why, health, _) = home.failed().await;

    assert_eq!(health["status"], json!("failing"), "{why}");
    assert!(beside(&home.database, ".suspect").exists(), "the next start looks through it");
    home.api.stop().await;
}

#[tokio::test]
async fn a_harmless_write_by_another_program_is_tolerated() {
    let home = Home::new().await;
    home.fill().await;

    let file = fs::OpenOptions::new().write(true).open(&home.database).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let store = home.api.hub.store();
    store.check().await.unwrap();

    assert!(store.verify(true).await.unwrap().is_sound());
    store.check().await.unwrap();
    home.api.stop().await;
}

#[tokio::test]
async fn a_damaged_page_without_a_backup_loses_only_its_rows() {
    let home = Home::new().await;
    home.fill().await;
    let Home { api, database, _folder } = home;
    let before = api.admin.clone();
    api.stop().await;
    let mut bytes = fs::read(&database).unwrap();
    let middle = bytes.len() / 2 / 512 * 512;
    bytes[middle..middle + 512].fill(0x5a);
    fs::write(&database, bytes).unwrap();

    let store = format!("sqlite://{}", database.display());
    let hub = TestHub::opened(Config { store, ..Config::default() }).await.unwrap();

    let recovered = hub.hub().recovered().unwrap().clone();
    assert!(recovered.restored.is_none() && recovered.salvaged.is_some(), "{recovered:?}");
    let api = Api::of(hub).await;
    let report = api.get("/api/storage").token(&before).ok().await;
    assert!(report["problems"][0].as_str().unwrap().contains("readings of 1 series"), "{report}");
    let all = "/api/sensors/temperature?format=ndjson&module_id=attic";
    let kept = api.get(all).send().await.body.iter().filter(|byte| **byte == b'\n').count();
    assert!((120_000 - 3 * 4_096..=120_000).contains(&kept), "{kept}");
    api.stop().await;
}

#[tokio::test]
async fn a_data_folder_that_others_may_read_is_a_problem() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = Home::new().await;
    let folder = home.database.parent().unwrap();
    let problems = async |mode| {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        let report = home.api.get("/api/storage").ok().await;
        report["problems"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|said| said.to_string().contains("chmod"))
            .count()
    };

    assert_eq!([problems(0o755).await, problems(0o750).await, problems(0o700).await], [1, 1, 0]);
    let lock = fs::metadata(beside(&home.database, ".lock")).unwrap();
    assert_eq!(lock.permissions().mode() & 0o777, 0o600);
    home.api.stop().await;
}
