//! Looking after the storage: room, wear, backups, damage, age.

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

use crate::support::api::{Api, NOW, NOW_SECS, id};

const MIB: u64 = 1 << 20;
const DAY: f64 = 86_400.0;

/// A machine whose disk and kernel answer what a test says.
#[derive(Clone, Default)]
struct Told {
    free: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
}

impl Told {
    fn free_mib(&self, mib: u64) {
        self.free.store(mib * MIB, Ordering::Relaxed);
    }

    fn machine(&self) -> Machine {
        let (free, written) = (Arc::clone(&self.free), Arc::clone(&self.written));
        Machine::default()
            .with_sys("/no/sysfs")
            // The test says when it is looked.
            .with_look_every(Duration::from_secs(86_400))
            .with_free_bytes(move |_: &Path| Ok(free.load(Ordering::Relaxed)))
            .with_written_bytes(move || Some(written.load(Ordering::Relaxed)))
    }
}

struct Home {
    api: Api,
    told: Told,
    database: PathBuf,
    _folder: tempfile::TempDir,
}

impl Home {
    /// A hub with its database in a file, a disk with a gibibyte free, and a clock that stands still.
    async fn new(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("hub.db");
        let told = Told::default();
        told.free_mib(1024);
        let hub = TestHub::on_machine(config, &url(&database), told.machine(), NOW).await.unwrap();
        Self { api: Api::of(hub).await, told, database, _folder: folder }
    }

    async fn report(&self) -> Value {
        self.api.get("/api/storage").ok().await
    }

    async fn problems(&self) -> Vec<String> {
        serde_json::from_value(self.report().await["problems"].clone()).unwrap()
    }

    /// So many readings, a day apart, the last taken now.
    async fn days_of_readings(&self, module: &str, days: u32) {
        let readings: Vec<_> = (0..days)
            .map(|ago| json!({"module_id": module, "value": ago, "timestamp": NOW_SECS - f64::from(ago) * DAY}))
            .collect();
        for batch in readings.chunks(1000) {
            self.api.post("/api/sensors/temperature", json!(batch)).ok().await;
        }
        self.api.hub.store().settle().await.unwrap();
    }

    async fn kept(&self, module: &str) -> usize {
        let path = format!("/api/sensors/temperature?format=ndjson&module_id={module}");
        self.api.get(&path).send().await.body.iter().filter(|byte| **byte == b'\n').count()
    }
}

fn url(database: &Path) -> String {
    format!("sqlite://{}", database.display())
}

#[tokio::test]
async fn the_report_contains_used_and_free_space() {
    let home = Home::new(Config::default()).await;
    home.days_of_readings("attic", 10).await;

    let report = home.report().await;

    assert!(report["database_bytes"].as_u64().unwrap() > 0 && report["wal_bytes"].as_u64().unwrap() > 0);
    assert_eq!(report["free_bytes"], json!(1024 * MIB));
    assert_eq!(report["low_water_bytes"], json!(256 * MIB));
    assert_eq!(report["endurance_bytes"], json!(10_000_000_000_000_u64));
    assert_eq!((&report["device_kind"], &report["commit_window_ms"]), (&json!("unknown"), &json!(0)));
    assert_eq!(
        (&report["full"], &report["last_backup"], &report["problems"]),
        (&json!(false), &json!(null), &json!([]))
    );
    home.api.stop().await;
}

#[tokio::test]
async fn wear_is_measured_forecast_and_kept_across_a_restart() {
    let home = Home::new(Config::default()).await;
    let gb = 1_000_000_000;

    home.told.written.store(2 * gb, Ordering::Relaxed);
    home.api.hub.advance(Duration::from_secs(86_400));
    let before = home.report().await;
    let Home { api, told, database, _folder } = home;
    api.stop().await;
    told.written.store(gb, Ordering::Relaxed);
    let hub = TestHub::on_machine(Config::default(), &url(&database), told.machine(), NOW).await.unwrap();
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
    let home = Home::new(Config::default()).await;
    let lamp = home.api.lamp().await;
    let reading = json!({"module_id": "attic", "value": 1});

    home.told.free_mib(200);
    home.api.hub.look_for_room().await.unwrap();

    let refused = home.api.post("/api/sensors/temperature", reading.clone()).send().await;
    assert_eq!((refused.status, refused.problem()["kind"].as_str()), (507, Some("storage_full")));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((5..=31).contains(&wait), "{wait}");
    home.api.post("/api/modules/led/control", json!({"action": "set"})).ok().await;
    let leased = home.api.get("/api/modules/led/commands").token(&lamp).ok().await;
    let leased = &leased["items"][0];
    let outcome = json!({"command": {"id": leased["id"], "lease": leased["lease"], "outcome": "succeeded"}});
    home.api.post("/api/modules/led/status", outcome).token(&lamp).ok().await;
    home.api.post("/api/auth/tokens", json!({"name": "night-watch", "role": "viewer"})).ok().await;
    assert_eq!(home.api.open(Method::GET, "/health").send().await.status, 200);
    assert_eq!(home.report().await["full"], json!(true));
    assert!(home.problems().await[0].contains("full"));

    home.told.free_mib(300);
    home.api.hub.look_for_room().await.unwrap();

    home.api.post("/api/sensors/temperature", reading).ok().await;
    assert_eq!(home.problems().await, Vec::<String>::new());
    home.api.stop().await;
}

#[tokio::test]
async fn old_readings_are_evicted_before_new_ones_are_rejected() {
    let home = Home::new(Config::default()).await;
    home.days_of_readings("attic", 200).await;

    home.told.free_mib(250);
    home.api.hub.look_for_room().await.unwrap();

    // Freed pages of so few readings are no room; but the old ones were tried first.
    let kept = home.kept("attic").await;
    assert!((31..=61).contains(&kept), "what is 30 days old or younger stays, with its chunk: {kept}");
    assert!(home.problems().await[0].contains("being deleted"));
    home.days_of_readings("attic", 1).await;
    home.api.hub.look_for_room().await.unwrap();
    assert_eq!(home.report().await["full"], json!(true), "nothing is left to thin out");
    home.api.stop().await;
}

#[tokio::test]
async fn nothing_is_evicted_if_it_would_free_nothing_or_the_clock_may_be_wrong() {
    let home = Home::new(Config::default()).await;
    home.days_of_readings("attic", 200).await;

    home.told.free_mib(10);
    home.api.hub.look_for_room().await.unwrap();
    let nothing_of_the_disk = home.kept("attic").await;
    home.api.hub.step_to(NOW.plus(Duration::from_secs(10 * 365 * 86_400)));
    home.told.free_mib(100);
    home.api.hub.look_for_room().await.unwrap();

    assert_eq!((nothing_of_the_disk, home.kept("attic").await), (200, 200));
    assert_eq!(home.report().await["full"], json!(true));
    home.api.stop().await;
}

#[tokio::test]
async fn a_low_water_mark_of_zero_is_disabled() {
    let storage = StorageConfig { low_water_bytes: 0, ..StorageConfig::default() };
    let home = Home::new(Config { storage, ..Config::default() }).await;

    home.told.free_mib(0);
    home.api.hub.look_for_room().await.unwrap();

    home.days_of_readings("attic", 1).await;
    home.api.stop().await;
}

#[tokio::test]
async fn a_backup_is_created_reported_and_kept() {
    let home = Home::new(Config {
        backup: BackupConfig { keep: 2, ..BackupConfig::default() },
        ..Config::default()
    })
    .await;
    home.days_of_readings("attic", 10).await;

    for _ in 0..3 {
        let made = home.api.call(Method::POST, "/api/storage/backup").ok().await;
        assert_eq!((&made["verified"], made["at"].as_f64()), (&json!(true), Some(NOW_SECS)));
    }

    let folder = home.database.with_file_name("backups");
    let backups = backup::list(&folder, &home.database).unwrap();
    assert_eq!(backups.iter().map(|backup| backup.number).collect::<Vec<_>>(), [2, 3]);
    let report = home.report().await;
    assert_eq!(report["last_backup"]["path"], json!(backups[1].path.display().to_string()));
    let viewer = home.api.token(Role::Viewer).await;
    let seen = home.api.get("/api/storage").token(&viewer).ok().await;
    assert_eq!(seen["last_backup"], json!({"at": NOW_SECS, "bytes": backups[1].bytes, "verified": true}));
    home.api.stop().await;
}

#[tokio::test]
async fn automatic_backups_follow_the_configured_interval() {
    let backup = BackupConfig { every_hours: 24, keep: 9, ..BackupConfig::default() };
    let home = Home::new(Config { backup, ..Config::default() }).await;
    let hours = async |hours: u64| {
        home.api.hub.advance(Duration::from_secs(hours * 3_600));
        home.api.hub.look_for_backup().await;
        backup::list(&home.database.with_file_name("backups"), &home.database).unwrap().len()
    };

    assert_eq!([hours(0).await, hours(1).await, hours(23).await, hours(1).await], [0, 1, 1, 2]);
    home.told.free_mib(1);
    assert_eq!(hours(24).await, 2, "there is no room");
    assert!(home.problems().await.iter().any(|problem| problem.contains("backup failed")));
    home.told.free_mib(1024);
    assert_eq!([hours(5).await, hours(1).await], [2, 3], "a failure is not tried again at once");
    // Set back by years, the steady clock still counts.
    home.api.hub.step_to(NOW.minus(Duration::from_secs(10 * 365 * 86_400)));
    assert_eq!([hours(23).await, hours(1).await], [3, 4]);
    home.api.stop().await;
}

#[tokio::test]
async fn automatic_backups_can_be_disabled() {
    let backup = BackupConfig { every_hours: 0, ..BackupConfig::default() };
    let home = Home::new(Config { backup, ..Config::default() }).await;

    home.api.hub.advance(Duration::from_secs(365 * 86_400));
    home.api.hub.look_for_backup().await;

    assert!(!home.database.with_file_name("backups").exists());
    home.api.stop().await;
}

#[tokio::test]
async fn a_backup_without_free_space_is_a_problem_until_one_succeeds() {
    let home = Home::new(Config::default()).await;

    home.told.free_mib(256);
    let refused = home.api.call(Method::POST, "/api/storage/backup").problem().await;
    let problems = home.problems().await;
    home.told.free_mib(300);
    home.api.call(Method::POST, "/api/storage/backup").ok().await;

    assert_eq!((refused.0, refused.1.as_str()), (507, "storage_full"));
    assert!(problems.len() == 1 && problems[0].contains("backup failed"), "{problems:?}");
    assert_eq!(home.problems().await, Vec::<String>::new());
    home.api.stop().await;
}

#[tokio::test]
async fn data_older_than_its_retention_is_deleted_automatically() {
    let shed = SeriesRetention { module_id: Some(id("shed")), sensor: None, raw_days: 0 };
    let retention =
        RetentionConfig { raw_days: 800, minute_days: 0, series: vec![shed], ..RetentionConfig::default() };
    let home = Home::new(Config { retention, ..Config::default() }).await;
    home.days_of_readings("attic", 1000).await;
    home.days_of_readings("shed", 3000).await;

    let ran = home.api.hub.expire_by_itself().await.unwrap();

    let gone = ran.readings.gone;
    assert_eq!((ran.refused, ran.readings.of), (None, 4000));
    assert!((170..=200).contains(&gone), "whole chunks of up to 30 days: {gone}");
    assert_eq!((home.kept("attic").await as u64, home.kept("shed").await), (1000 - gone, 3000));
    assert_eq!(home.report().await["retention"]["readings"], json!({"gone": gone, "of": 4000}));
    home.api.stop().await;
}

#[tokio::test]
async fn a_run_that_would_delete_more_than_a_tenth_waits_for_an_admin() {
    let retention = RetentionConfig { raw_days: 500, ..RetentionConfig::default() };
    let home = Home::new(Config { retention, ..Config::default() }).await;
    home.days_of_readings("attic", 1000).await;

    let ran = home.api.hub.expire_by_itself().await.unwrap();
    let problems = home.problems().await;
    let kept = home.kept("attic").await;
    let asked = home.api.post("/api/storage/retention", json!({})).ok().await;
    let still = home.kept("attic").await;
    let done = home.api.post("/api/storage/retention", json!({"confirm": true})).ok().await;

    let gone = ran.readings.gone;
    assert!((469..=499).contains(&gone), "whole chunks of up to 30 days: {gone}");
    assert!(ran.refused.is_some() && problems[0].contains(&format!("{gone} of 1000")), "{problems:?}");
    assert_eq!((kept, still), (1000, 1000));
    assert!(asked["dry_run"] == json!(true) && asked["refused"].is_string(), "{asked}");
    assert_eq!((&done["readings"], &done["dry_run"]), (&json!({"gone": gone, "of": 1000}), &json!(false)));
    assert_eq!((home.kept("attic").await, home.problems().await), (1000 - gone as usize, Vec::new()));
    home.api.stop().await;
}

#[tokio::test]
async fn a_clock_jump_deletes_nothing() {
    let home = Home::new(Config::default()).await;
    home.days_of_readings("attic", 100).await;
    let ten_years = Duration::from_secs(10 * 365 * 86_400);

    for jump in [
        NOW.plus(ten_years),
        NOW.minus(ten_years),
        Timestamp::from_micros(0),
        NOW.plus(Duration::from_secs(7_200)),
    ] {
        home.api.hub.step_to(jump);
        let ran = home.api.hub.expire_by_itself().await.unwrap();

        assert!(ran.refused.is_some(), "{jump}: {ran:?}");
        assert_eq!(home.kept("attic").await, 100, "{jump}");
    }
    home.api.stop().await;
}

#[tokio::test]
async fn damage_found_at_run_time_is_reported_and_recorded_for_the_next_start() {
    let home = Home::new(Config::default()).await;
    for of in 0..20 {
        home.days_of_readings(&format!("m{of}"), 500).await;
    }
    home.api.hub.store().backup(&home.database.with_file_name("sound.db")).await.unwrap();
    // The pages as they are in the file, not those SQLite still has in memory: a copy, damaged, opened by
    // another hub.
    let sound = home.database.with_file_name("sound.db");
    let mut bytes = std::fs::read(&sound).unwrap();
    // A page that opening the database does not read.
    let db = rusqlite::Connection::open(&sound).unwrap();
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, usize>(0)).unwrap();
    let page = number("SELECT rootpage FROM sqlite_schema WHERE name = 'users'");
    let size = number("PRAGMA page_size");
    bytes[(page - 1) * size..page * size].fill(0x5a);
    let damaged = home.database.with_file_name("damaged.db");
    std::fs::write(&damaged, bytes).unwrap();
    let store = store::open(&url(&damaged)).await.unwrap();

    let found = store.verify(false).await.unwrap();

    assert!(!found.is_sound(), "{found:?}");
    assert!(home.database.with_file_name("damaged.db.suspect").exists());
    std::fs::write(home.database.with_file_name("hub.db.suspect"), "as the engine would note it").unwrap();
    assert!(home.problems().await[0].contains("fatal error"));
    std::fs::remove_file(home.database.with_file_name("hub.db.suspect")).unwrap();
    home.api.hub.look_for_damage().await;
    assert_eq!(home.problems().await, Vec::<String>::new(), "the other is sound");
    home.api.stop().await;
}

/// A small disk of its own, and something on it that takes room.
struct Disk(tempfile::TempDir);

impl Disk {
    /// Nothing when this process may not mount one.
    fn of_mib(mib: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED: only root may mount a small tmpfs, so the disk was not really filled");
        None
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("hub.db")
    }

    fn free(&self) -> u64 {
        Machine::default().free_bytes(&self.database()).unwrap()
    }

    /// Takes all but so many bytes.
    fn leave(&self, free: u64) {
        let filler = self.0.path().join("filler");
        let _ = std::fs::remove_file(&filler);
        let take = self.free().saturating_sub(free);
        std::fs::write(&filler, vec![0; usize::try_from(take).unwrap()]).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whatever still has a file open there goes with it.
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Delivers until it is refused for want of room; answers how many readings were acknowledged.
async fn fill(api: &Api, look: bool) -> usize {
    for batch in 0..5_000_u32 {
        if look {
            api.hub.look_for_room().await.unwrap();
        }
        let readings: Vec<_> = (0..1000_u32)
            .map(|n| {
                let value = f64::from(n).sin() * f64::from(batch);
                // All of the last hours: what is old would be thinned out.
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
    panic!("the disk is never full");
}

async fn all_kept(api: &Api) -> usize {
    let mut path = "/api/sensors/temperature?limit=1000".to_owned();
    let mut kept = 0;
    loop {
        let page = api.get(&path).ok().await;
        kept += page["items"].as_array().unwrap().len();
        match page["next"].as_str() {
            Some(next) => path = format!("/api/sensors/temperature?limit=1000&cursor={next}"),
            None => return kept,
        }
    }
}

#[tokio::test]
async fn a_real_disk_that_fills_up_leaves_its_reserve_and_recovers() {
    let Some(disk) = Disk::of_mib(48) else { return };
    let storage = StorageConfig { low_water_bytes: 16 * MIB, ..StorageConfig::default() };
    let config = Config { storage, ..Config::default() };
    let hub = TestHub::on_machine(config, &url(&disk.database()), Machine::default(), NOW).await.unwrap();
    let api = Api::of(hub).await;
    api.lamp().await;
    disk.leave(19 * MIB);

    let acknowledged = fill(&api, true).await;

    assert!(disk.free() > 8 * MIB, "the reserve is left: {}", disk.free());
    api.post("/api/modules/led/control", json!({"action": "set"})).ok().await;
    api.post("/api/auth/tokens", json!({"name": "night-watch", "role": "viewer"})).ok().await;
    assert_eq!(all_kept(&api).await, acknowledged);

    disk.leave(24 * MIB);
    api.hub.look_for_room().await.unwrap();

    api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": 1})).ok().await;
    api.stop().await;
}

#[tokio::test]
async fn a_real_disk_without_a_byte_left_loses_nothing_that_was_acknowledged() {
    let Some(disk) = Disk::of_mib(48) else { return };
    let storage = StorageConfig { low_water_bytes: 0, ..StorageConfig::default() };
    let config = Config { storage, ..Config::default() };
    let hub = TestHub::on_machine(config, &url(&disk.database()), Machine::default(), NOW).await.unwrap();
    let api = Api::of(hub).await;
    disk.leave(2 * MIB);

    let acknowledged = fill(&api, false).await;
    let kept = all_kept(&api).await;
    disk.leave(8 * MIB);
    api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": 1})).ok().await;

    assert_eq!(kept, acknowledged);
    assert_eq!(all_kept(&api).await, acknowledged + 1);
    api.stop().await;
}

#[tokio::test]
async fn damage_that_only_a_full_read_of_a_large_database_shows_is_repaired_at_start_too() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("hub.db");
    let config = Config { store: url(&database), ..Config::default() };
    let hub = Api::of(TestHub::opened(config.clone()).await.unwrap()).await;
    hub.lamp().await;
    hub.call(Method::POST, "/api/storage/backup").ok().await;
    hub.stop().await;
    // Too large to be looked through at every start.
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
