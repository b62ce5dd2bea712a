//! A database file is deleted, replaced or overwritten while the hub uses it: `/health` reports it, and the
//! store fails permanently, which ends the program.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use http::Method;
use iotpi_core::{Quantity, Reading, Sample, Timestamp};
use iotpi_hub::{
    Config,
    store::{Now, Steady},
    testing::TestHub,
};
use serde_json::json;

use crate::support::{
    api::{Api, NOW, id},
    file_damage::beside,
    seeded_random::noise,
    wait::bounded,
};

/// A hub with its database in a file.
struct Setup {
    api: Api,
    database: PathBuf,
    _folder: tempfile::TempDir,
}

impl Setup {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("hub.db");
        let store = format!("sqlite://{}", database.display());
        let api = Api::of(TestHub::opened(Config { store, ..Config::default() }).await.unwrap()).await;
        Self { api, database, _folder: folder }
    }

    /// Records enough readings for a checkpoint, so that they are in the database file and not only in its WAL.
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
        store.compact().await.unwrap();
        assert!(fs::metadata(&self.database).unwrap().len() > 300_000);
    }

    /// Waits until the store has failed permanently. Returns the reason, `/health` and the metrics.
    async fn wait_for_failure(&self) -> (String, serde_json::Value, String) {
        let reason = bounded("the failure of the store", self.api.hub.hub().failed()).await;
        let health = self.api.open(Method::GET, "/health").send().await;
        assert_eq!(health.status, 503);
        let metrics = self.api.metrics().await;
        (reason, health.json(), metrics)
    }
}

#[tokio::test]
async fn the_deletion_of_the_database_of_a_running_hub_is_detected() {
    for (part, name) in [("", "database"), ("-wal", "WAL"), ("-shm", "index of the WAL")] {
        let setup = Setup::new().await;
        assert_eq!(setup.api.open(Method::GET, "/health").ok().await["problem"], json!(null));

        fs::remove_file(beside(&setup.database, part)).unwrap();
        let (reason, health, _) = setup.wait_for_failure().await;

        let expected = format!("the file of the {name} was deleted while the hub used it");
        assert_eq!(reason, expected);
        assert_eq!(health["status"], json!("failing"));
        assert_eq!(health["problem"], json!(format!("The store fails: {expected}.")));
        let refused = setup.api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": 1}));
        assert_eq!(refused.send().await.status, 500);
        setup.api.stop().await;
    }
}

#[tokio::test]
async fn the_replacement_of_the_database_of_a_running_hub_is_detected() {
    let setup = Setup::new().await;
    let copy = setup.database.with_file_name("copy.db");
    setup.api.hub.store().backup(&copy).await.unwrap();

    fs::rename(&copy, &setup.database).unwrap();
    let (reason, ..) = setup.wait_for_failure().await;

    assert!(reason.contains("replaced by another"), "{reason}");
    setup.api.stop().await;
}

#[tokio::test]
async fn pages_overwritten_by_another_program_are_detected() {
    let setup = Setup::new().await;
    setup.fill().await;

    let file = fs::OpenOptions::new().write(true).open(&setup.database).unwrap();
    let middle = fs::metadata(&setup.database).unwrap().len() / 2 / 512 * 512;
    file.write_all_at(&[0x5a; 16 * 512], middle).unwrap();
    let (reason, health, _) = setup.wait_for_failure().await;

    assert_eq!(health["status"], json!("failing"), "{reason}");
    assert!(beside(&setup.database, ".suspect").exists(), "the next start does not check it");
    setup.api.stop().await;
}

#[tokio::test]
async fn a_harmless_write_by_another_program_is_tolerated() {
    let setup = Setup::new().await;
    setup.fill().await;

    let file = fs::OpenOptions::new().write(true).open(&setup.database).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let store = setup.api.hub.store();
    store.check().await.unwrap();

    assert!(store.verify(true).await.unwrap().is_sound());
    store.check().await.unwrap();
    setup.api.stop().await;
}

/// The place of a page that has only a part of one chunk. Any page of the file may be a free one, whose content
/// does not matter.
fn page_of_a_chunk(database: &Path) -> u64 {
    let pages =
        "SELECT pgoffset FROM dbstat WHERE name = 'chunks' AND pagetype = 'overflow' ORDER BY pageno LIMIT 1";
    rusqlite::Connection::open(database).unwrap().query_one(pages, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_damaged_page_without_a_backup_loses_only_its_rows() {
    let setup = Setup::new().await;
    setup.fill().await;
    let Setup { api, database, _folder } = setup;
    let admin = api.admin.clone();
    api.stop().await;
    let damaged = page_of_a_chunk(&database);
    fs::OpenOptions::new().write(true).open(&database).unwrap().write_all_at(&[0x5a; 512], damaged).unwrap();

    let store = format!("sqlite://{}", database.display());
    let hub = TestHub::opened(Config { store, ..Config::default() }).await.unwrap();

    let recovered = hub.hub().recovered().unwrap().clone();
    assert!(recovered.restored.is_none() && recovered.salvaged.is_some(), "{recovered:?}");
    let api = Api::of(hub).await;
    let report = api.get("/api/storage").token(&admin).ok().await;
    assert!(report["problems"][0].as_str().unwrap().contains("readings of 1 series"), "{report}");
    let all = "/api/sensors/temperature?format=ndjson&module_id=attic";
    let stored = api.get(all).send().await.body.iter().filter(|byte| **byte == b'\n').count();
    assert!((120_000 - 3 * 4_096..=120_000).contains(&stored), "{stored}");
    api.stop().await;
}

#[tokio::test]
async fn a_data_folder_that_others_may_read_is_a_problem() {
    use std::os::unix::fs::PermissionsExt as _;

    let setup = Setup::new().await;
    let folder = setup.database.parent().unwrap();
    let problems = async |mode| {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        let report = setup.api.get("/api/storage").ok().await;
        report["problems"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|problem| problem.to_string().contains("chmod"))
            .count()
    };

    assert_eq!([problems(0o755).await, problems(0o750).await, problems(0o700).await], [1, 1, 0]);
    let lock = fs::metadata(beside(&setup.database, ".lock")).unwrap();
    assert_eq!(lock.permissions().mode() & 0o777, 0o600);
    setup.api.stop().await;
}
