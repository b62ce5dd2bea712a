//! Maintenance of the storage: free space, wear, backups, damage, retention.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Method;
use iotpi_core::Timestamp;
use iotpi_hub::{
    BackupConfig, Config, RetentionConfig, SeriesRetention, StorageConfig,
    auth::Role,
    maintenance::{Machine, backup},
    store,
    testing::TestHub,
};
use serde_json::{Value, json};

use crate::support::{
    api::{Api, NOW, NOW_SECS, id},
    tmpfs::Tmpfs,
};

const MIB: u64 = 1 << 20;
const DAY: f64 = 86_400.0;

/// A simulated machine, with the free space and the written bytes that a test sets.
#[derive(Clone, Default)]
struct SimMachine {
    free: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
}

impl SimMachine {
    fn set_free_mib(&self, mib: u64) {
        self.free.store(mib * MIB, Ordering::Relaxed);
    }

    fn build(&self) -> Machine {
        let (free, written) = (Arc::clone(&self.free), Arc::clone(&self.written));
        Machine::default()
            .with_sys("/no/sysfs")
            // The test triggers the checks.
            .with_check_interval(Duration::from_secs(86_400))
            .with_free_bytes(move |_: &Path| Ok(free.load(Ordering::Relaxed)))
            .with_written_bytes(move || Some(written.load(Ordering::Relaxed)))
    }
}

/// A hub on a simulated machine.
struct Setup {
    api: Api,
    machine: SimMachine,
    database: PathBuf,
    _folder: tempfile::TempDir,
}

impl Setup {
    /// Starts a hub with its database in a file, a gibibyte of free space, and a manual clock.
    async fn new(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("hub.db");
        let machine = SimMachine::default();
        machine.set_free_mib(1024);
        let hub = TestHub::on_machine(config, &url(&database), machine.build(), NOW).await.unwrap();
        Self { api: Api::of(hub).await, machine, database, _folder: folder }
    }

    async fn report(&self) -> Value {
        self.api.get("/api/storage").ok().await
    }

    async fn problems(&self) -> Vec<String> {
        serde_json::from_value(self.report().await["problems"].clone()).unwrap()
    }

    /// Records one reading per day up to now.
    async fn record_days(&self, module: &str, days: u32) {
        let readings: Vec<_> = (0..days)
            .map(|ago| json!({"module_id": module, "value": ago, "timestamp": NOW_SECS - f64::from(ago) * DAY}))
            .collect();
        for batch in readings.chunks(1000) {
            self.api.post("/api/sensors/temperature", json!(batch)).ok().await;
        }
        self.api.hub.store().compact().await.unwrap();
    }

    async fn stored(&self, module: &str) -> usize {
        let path = format!("/api/sensors/temperature?format=ndjson&module_id={module}");
        self.api.get(&path).send().await.body.iter().filter(|byte| **byte == b'\n').count()
    }
}

fn url(database: &Path) -> String {
    format!("sqlite://{}", database.display())
}

#[tokio::test]
async fn the_report_contains_used_and_free_space() {
    let setup = Setup::new(Config::default()).await;
    setup.record_days("attic", 10).await;

    let report = setup.report().await;

    assert!(report["database_bytes"].as_u64().unwrap() > 0 && report["wal_bytes"].as_u64().unwrap() > 0);
    assert_eq!(report["free_bytes"], json!(1024 * MIB));
    assert_eq!(report["low_water_bytes"], json!(256 * MIB));
    assert_eq!(report["endurance_bytes"], json!(10_000_000_000_000_u64));
    assert_eq!((&report["device_kind"], &report["commit_window_ms"]), (&json!("unknown"), &json!(0)));
    assert_eq!(
        (&report["full"], &report["last_backup"], &report["problems"]),
        (&json!(false), &json!(null), &json!([]))
    );
    setup.api.stop().await;
}

#[tokio::test]
async fn wear_is_measured_forecast_and_kept_across_a_restart() {
    let setup = Setup::new(Config::default()).await;
    let gb = 1_000_000_000;

    setup.machine.written.store(2 * gb, Ordering::Relaxed);
    setup.api.hub.advance(Duration::from_secs(86_400));
    let before = setup.report().await;
    let Setup { api, machine, database, _folder } = setup;
    api.stop().await;
    machine.written.store(gb, Ordering::Relaxed);
    let hub = TestHub::on_machine(Config::default(), &url(&database), machine.build(), NOW).await.unwrap();
    let api = Api::of(hub).await;
    let after = api.get("/api/storage").ok().await;

    assert_eq!(before["written_per_day_bytes"], json!(2 * gb));
    let years = before["forecast_years"].as_f64().unwrap();
    assert!((years - 9_998.0 / 2.0 / 365.25).abs() < 1e-6, "{years}");
    assert_eq!(after["written_total_bytes"], json!(3 * gb));
    let metrics = api.get("/metrics").send().await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    for line in
        ["iotpi_device_written_bytes_total 3000000000", "iotpi_storage_problems 0", "iotpi_storage_full 0"]
    {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    api.stop().await;
}

#[tokio::test]
async fn below_the_low_water_mark_only_readings_are_rejected() {
    let setup = Setup::new(Config::default()).await;
    let lamp = setup.api.lamp().await;
    let reading = json!({"module_id": "attic", "value": 1});

    setup.machine.set_free_mib(200);
    setup.api.hub.check_free_space().await.unwrap();

    let refused = setup.api.post("/api/sensors/temperature", reading.clone()).send().await;
    assert_eq!((refused.status, refused.problem()["kind"].as_str()), (507, Some("storage_full")));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((5..=31).contains(&wait), "{wait}");
    setup.api.post("/api/modules/led/control", json!({"action": "set"})).ok().await;
    let leased = setup.api.get("/api/modules/led/commands").token(&lamp).ok().await;
    let leased = &leased["items"][0];
    let outcome = json!({"command": {"id": leased["id"], "lease": leased["lease"], "outcome": "succeeded"}});
    setup.api.post("/api/modules/led/status", outcome).token(&lamp).ok().await;
    setup.api.post("/api/auth/tokens", json!({"name": "display", "role": "viewer"})).ok().await;
    assert_eq!(setup.api.open(Method::GET, "/health").send().await.status, 200);
    assert_eq!(setup.report().await["full"], json!(true));
    assert!(setup.problems().await[0].contains("full"));

    setup.machine.set_free_mib(300);
    setup.api.hub.check_free_space().await.unwrap();

    setup.api.post("/api/sensors/temperature", reading).ok().await;
    assert_eq!(setup.problems().await, Vec::<String>::new());
    setup.api.stop().await;
}

#[tokio::test]
async fn old_readings_are_evicted_before_new_ones_are_rejected() {
    let setup = Setup::new(Config::default()).await;
    setup.record_days("attic", 200).await;

    setup.machine.set_free_mib(250);
    setup.api.hub.check_free_space().await.unwrap();

    // The pages of so few readings are too little space, but old readings were evicted first.
    let stored = setup.stored("attic").await;
    assert!((31..=61).contains(&stored), "the readings of 30 days, in whole chunks: {stored}");
    assert!(setup.problems().await[0].contains("being deleted"));
    setup.record_days("attic", 1).await;
    setup.api.hub.check_free_space().await.unwrap();
    assert_eq!(setup.report().await["full"], json!(true), "no more can be evicted");
    setup.api.stop().await;
}

#[tokio::test]
async fn nothing_is_evicted_if_it_would_free_too_little_or_the_clock_may_be_wrong() {
    let setup = Setup::new(Config::default()).await;
    setup.record_days("attic", 200).await;

    setup.machine.set_free_mib(10);
    setup.api.hub.check_free_space().await.unwrap();
    let with_other_files = setup.stored("attic").await;
    setup.api.hub.step_to(NOW.plus(Duration::from_secs(10 * 365 * 86_400)));
    setup.machine.set_free_mib(100);
    setup.api.hub.check_free_space().await.unwrap();

    assert_eq!((with_other_files, setup.stored("attic").await), (200, 200));
    assert_eq!(setup.report().await["full"], json!(true));
    setup.api.stop().await;
}

#[tokio::test]
async fn a_low_water_mark_of_zero_is_disabled() {
    let storage = StorageConfig { low_water_bytes: 0, ..StorageConfig::default() };
    let setup = Setup::new(Config { storage, ..Config::default() }).await;

    setup.machine.set_free_mib(0);
    setup.api.hub.check_free_space().await.unwrap();

    setup.record_days("attic", 1).await;
    setup.api.stop().await;
}

#[tokio::test]
async fn a_backup_is_created_reported_and_kept() {
    let setup = Setup::new(Config {
        backup: BackupConfig { keep: 2, ..BackupConfig::default() },
        ..Config::default()
    })
    .await;
    setup.record_days("attic", 10).await;

    for _ in 0..3 {
        let backup = setup.api.call(Method::POST, "/api/storage/backup").ok().await;
        assert_eq!((&backup["verified"], backup["at"].as_f64()), (&json!(true), Some(NOW_SECS)));
    }

    let folder = setup.database.with_file_name("backups");
    let backups = backup::list(&folder, &setup.database).unwrap();
    assert_eq!(backups.iter().map(|backup| backup.number).collect::<Vec<_>>(), [2, 3]);
    let report = setup.report().await;
    assert_eq!(report["last_backup"]["path"], json!(backups[1].path.display().to_string()));
    let viewer = setup.api.token(Role::Viewer).await;
    let visible = setup.api.get("/api/storage").token(&viewer).ok().await;
    assert_eq!(visible["last_backup"], json!({"at": NOW_SECS, "bytes": backups[1].bytes, "verified": true}));
    setup.api.stop().await;
}

#[tokio::test]
async fn automatic_backups_follow_the_configured_interval() {
    let backup = BackupConfig { every_hours: 24, keep: 9, ..BackupConfig::default() };
    let setup = Setup::new(Config { backup, ..Config::default() }).await;
    let hours = async |hours: u64| {
        setup.api.hub.advance(Duration::from_secs(hours * 3_600));
        setup.api.hub.back_up_if_due().await;
        backup::list(&setup.database.with_file_name("backups"), &setup.database).unwrap().len()
    };

    assert_eq!([hours(0).await, hours(1).await, hours(23).await, hours(1).await], [0, 1, 1, 2]);
    setup.machine.set_free_mib(1);
    assert_eq!(hours(24).await, 2, "no free space");
    assert!(setup.problems().await.iter().any(|problem| problem.contains("backup failed")));
    setup.machine.set_free_mib(1024);
    assert_eq!([hours(5).await, hours(1).await], [2, 3], "a failed backup is not repeated at once");
    // The interval follows the steady clock, even if the wall clock is set back by years.
    setup.api.hub.step_to(NOW.minus(Duration::from_secs(10 * 365 * 86_400)));
    assert_eq!([hours(23).await, hours(1).await], [3, 4]);
    setup.api.stop().await;
}

#[tokio::test]
async fn automatic_backups_can_be_disabled() {
    let backup = BackupConfig { every_hours: 0, ..BackupConfig::default() };
    let setup = Setup::new(Config { backup, ..Config::default() }).await;

    setup.api.hub.advance(Duration::from_secs(365 * 86_400));
    setup.api.hub.back_up_if_due().await;

    assert!(!setup.database.with_file_name("backups").exists());
    setup.api.stop().await;
}

#[tokio::test]
async fn a_backup_without_free_space_is_a_problem_until_one_succeeds() {
    let setup = Setup::new(Config::default()).await;

    setup.machine.set_free_mib(256);
    let refused = setup.api.call(Method::POST, "/api/storage/backup").problem().await;
    let problems = setup.problems().await;
    setup.machine.set_free_mib(300);
    setup.api.call(Method::POST, "/api/storage/backup").ok().await;

    assert_eq!((refused.0, refused.1.as_str()), (507, "storage_full"));
    assert!(problems.len() == 1 && problems[0].contains("backup failed"), "{problems:?}");
    assert_eq!(setup.problems().await, Vec::<String>::new());
    setup.api.stop().await;
}

#[tokio::test]
async fn data_older_than_its_retention_is_deleted_automatically() {
    let shed = SeriesRetention { module_id: Some(id("shed")), sensor: None, raw_days: 0 };
    let retention =
        RetentionConfig { raw_days: 800, minute_days: 0, series: vec![shed], ..RetentionConfig::default() };
    let setup = Setup::new(Config { retention, ..Config::default() }).await;
    setup.record_days("attic", 1000).await;
    setup.record_days("shed", 3000).await;

    let ran = setup.api.hub.expire_automatically().await.unwrap();

    let deleted = ran.readings.gone;
    assert_eq!((ran.refused, ran.readings.of), (None, 4000));
    assert!((170..=200).contains(&deleted), "whole chunks of up to 30 days: {deleted}");
    assert_eq!((setup.stored("attic").await as u64, setup.stored("shed").await), (1000 - deleted, 3000));
    assert_eq!(setup.report().await["retention"]["readings"], json!({"gone": deleted, "of": 4000}));
    setup.api.stop().await;
}

#[tokio::test]
async fn a_run_that_would_delete_more_than_a_tenth_waits_for_an_admin() {
    let retention = RetentionConfig { raw_days: 500, ..RetentionConfig::default() };
    let setup = Setup::new(Config { retention, ..Config::default() }).await;
    setup.record_days("attic", 1000).await;

    let ran = setup.api.hub.expire_automatically().await.unwrap();
    let problems = setup.problems().await;
    let before = setup.stored("attic").await;
    let dry_run = setup.api.post("/api/storage/retention", json!({})).ok().await;
    let after_dry_run = setup.stored("attic").await;
    let done = setup.api.post("/api/storage/retention", json!({"confirm": true})).ok().await;

    let deleted = ran.readings.gone;
    assert!((469..=499).contains(&deleted), "whole chunks of up to 30 days: {deleted}");
    assert!(ran.refused.is_some() && problems[0].contains(&format!("{deleted} of 1000")), "{problems:?}");
    assert_eq!((before, after_dry_run), (1000, 1000));
    assert!(dry_run["dry_run"] == json!(true) && dry_run["refused"].is_string(), "{dry_run}");
    assert_eq!((&done["readings"], &done["dry_run"]), (&json!({"gone": deleted, "of": 1000}), &json!(false)));
    assert_eq!((setup.stored("attic").await, setup.problems().await), (1000 - deleted as usize, Vec::new()));
    setup.api.stop().await;
}

#[tokio::test]
async fn a_clock_jump_deletes_nothing() {
    let setup = Setup::new(Config::default()).await;
    setup.record_days("attic", 100).await;
    let ten_years = Duration::from_secs(10 * 365 * 86_400);

    for jump in [
        NOW.plus(ten_years),
        NOW.minus(ten_years),
        Timestamp::from_micros(0),
        NOW.plus(Duration::from_secs(7_200)),
    ] {
        setup.api.hub.step_to(jump);
        let ran = setup.api.hub.expire_automatically().await.unwrap();

        assert!(ran.refused.is_some(), "{jump}: {ran:?}");
        assert_eq!(setup.stored("attic").await, 100, "{jump}");
    }
    setup.api.stop().await;
}

#[tokio::test]
async fn damage_found_at_run_time_is_reported_and_recorded_for_the_next_start() {
    let setup = Setup::new(Config::default()).await;
    for module in 0..20 {
        setup.record_days(&format!("m{module}"), 500).await;
    }
    setup.api.hub.store().backup(&setup.database.with_file_name("sound.db")).await.unwrap();
    // SQLite has the pages of the open database in memory, so a damaged copy is opened by another store.
    let sound = setup.database.with_file_name("sound.db");
    let mut bytes = std::fs::read(&sound).unwrap();
    // A page that opening the database does not read.
    let db = rusqlite::Connection::open(&sound).unwrap();
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, usize>(0)).unwrap();
    let page = number("SELECT rootpage FROM sqlite_schema WHERE name = 'users'");
    let size = number("PRAGMA page_size");
    bytes[(page - 1) * size..page * size].fill(0x5a);
    let damaged = setup.database.with_file_name("damaged.db");
    std::fs::write(&damaged, bytes).unwrap();
    let store = store::open(&url(&damaged)).await.unwrap();

    let found = store.verify(false).await.unwrap();

    assert!(!found.is_sound(), "{found:?}");
    assert!(setup.database.with_file_name("damaged.db.suspect").exists());
    std::fs::write(setup.database.with_file_name("hub.db.suspect"), "written by the engine").unwrap();
    assert!(setup.problems().await[0].contains("fatal error"));
    std::fs::remove_file(setup.database.with_file_name("hub.db.suspect")).unwrap();
    setup.api.hub.verify_database().await;
    assert_eq!(setup.problems().await, Vec::<String>::new(), "the database of the hub is intact");
    setup.api.stop().await;
}

/// A small file system with a file that uses most of its space.
struct Disk(Tmpfs);

impl Disk {
    fn database(&self) -> PathBuf {
        self.0.path().join("hub.db")
    }

    fn free_bytes(&self) -> u64 {
        Machine::default().free_bytes(&self.database()).unwrap()
    }

    /// Leaves this many bytes free.
    fn set_free_bytes(&self, free: u64) {
        let filler = self.0.path().join("filler");
        loop {
            let _ = std::fs::remove_file(&filler);
            let length = self.free_bytes().saturating_sub(free);
            match std::fs::write(&filler, vec![0; usize::try_from(length).unwrap()]) {
                // The hub has written after the free space was read.
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {}
                written => return written.unwrap(),
            }
        }
    }
}

/// Records readings until the disk is full; returns the number of acknowledged ones.
async fn fill(api: &Api, checks_free_space: bool) -> usize {
    for batch in 0..5_000_u32 {
        if checks_free_space {
            api.hub.check_free_space().await.unwrap();
        }
        let readings: Vec<_> = (0..1000_u32)
            .map(|n| {
                let value = f64::from(n).sin() * f64::from(batch);
                // All from the last hours, because old readings would be evicted.
                let timestamp = NOW_SECS - 6_000.0 + f64::from(batch) + f64::from(n) / 1000.0;
                json!({"module_id": "attic", "value": value, "unit": "celsius", "timestamp": timestamp})
            })
            .collect();
        let answer = api.post("/api/sensors/temperature", json!(readings)).send().await;
        match answer.status {
            200 => {}
            507 => {
                assert!(!answer.header("retry-after").is_empty());
                return batch as usize * 1000;
            }
            _ => panic!("{answer:?}"),
        }
    }
    panic!("the disk did not fill");
}

async fn count_readings(api: &Api) -> usize {
    let mut path = "/api/sensors/temperature?limit=1000".to_owned();
    let mut count = 0;
    loop {
        let page = api.get(&path).ok().await;
        count += page["items"].as_array().unwrap().len();
        match page["next"].as_str() {
            Some(next) => path = format!("/api/sensors/temperature?limit=1000&cursor={next}"),
            None => return count,
        }
    }
}

#[tokio::test]
async fn a_real_disk_that_fills_up_leaves_its_reserve_and_recovers() {
    let Some(disk) = Tmpfs::mount(48).map(Disk) else { return };
    let storage = StorageConfig { low_water_bytes: 16 * MIB, ..StorageConfig::default() };
    let config = Config { storage, ..Config::default() };
    let hub = TestHub::on_machine(config, &url(&disk.database()), Machine::default(), NOW).await.unwrap();
    let api = Api::of(hub).await;
    api.lamp().await;
    disk.set_free_bytes(19 * MIB);

    let acknowledged = fill(&api, true).await;

    assert!(disk.free_bytes() > 8 * MIB, "the reserve was used: {} bytes are free", disk.free_bytes());
    api.post("/api/modules/led/control", json!({"action": "set"})).ok().await;
    api.post("/api/auth/tokens", json!({"name": "display", "role": "viewer"})).ok().await;
    assert_eq!(count_readings(&api).await, acknowledged);

    disk.set_free_bytes(24 * MIB);
    api.hub.check_free_space().await.unwrap();

    api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": 1})).ok().await;
    api.stop().await;
}

#[tokio::test]
async fn a_real_disk_without_a_byte_left_loses_nothing_that_was_acknowledged() {
    let Some(disk) = Tmpfs::mount(48).map(Disk) else { return };
    let storage = StorageConfig { low_water_bytes: 0, ..StorageConfig::default() };
    let config = Config { storage, ..Config::default() };
    let hub = TestHub::on_machine(config, &url(&disk.database()), Machine::default(), NOW).await.unwrap();
    let api = Api::of(hub).await;
    disk.set_free_bytes(2 * MIB);

    let acknowledged = fill(&api, false).await;
    let stored = count_readings(&api).await;
    disk.set_free_bytes(8 * MIB);
    api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": 1})).ok().await;

    assert_eq!(stored, acknowledged);
    assert_eq!(count_readings(&api).await, acknowledged + 1);
    api.stop().await;
}

#[tokio::test]
async fn damage_that_only_a_full_read_of_a_large_database_detects_is_repaired_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("hub.db");
    let config = Config { store: url(&database), ..Config::default() };
    let hub = Api::of(TestHub::opened(config.clone()).await.unwrap()).await;
    hub.lamp().await;
    hub.call(Method::POST, "/api/storage/backup").ok().await;
    hub.stop().await;
    // The database is too large to be verified at every start.
    let db = rusqlite::Connection::open(&database).unwrap();
    db.execute_batch("CREATE TABLE ballast (b BLOB); INSERT INTO ballast VALUES (zeroblob(17 << 20))")
        .unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'modules'";
    let page: usize = db.query_row(sql, [], |row| row.get(0)).unwrap();
    drop(db);
    let mut bytes = std::fs::read(&database).unwrap();
    bytes[(page - 1) * 4096..page * 4096].fill(0x5a);
    std::fs::write(&database, &bytes).unwrap();

    let api = Api::of(TestHub::opened(config).await.unwrap()).await;

    let recovered = api.hub.hub().recovered().unwrap().clone();
    assert!(recovered.restored.is_some(), "{recovered:?}");
    assert!(std::fs::read(recovered.quarantine.join("hub.db")).unwrap() == bytes);
    let modules = api.get("/api/modules").ok().await;
    assert_eq!(modules["items"][0]["id"], json!("led"));
    let report = api.get("/api/storage").ok().await;
    assert_eq!(report["quarantined"][0]["restored"], json!(true), "{report}");
    api.stop().await;
}
