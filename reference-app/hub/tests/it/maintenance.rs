//! Backup, restore, check, and damaged databases, with the real program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::support::{
    blocking_hub::BlockingHub,
    program::{PROGRAM, add_token, iotpi_hub, text},
};

/// The suffixes of the files of a database.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

fn part(data: &Path, suffix: &str) -> PathBuf {
    data.join(format!("hub.db{suffix}"))
}

/// A token of an admin for the hub on this data folder.
fn admin(data: &Path) -> String {
    add_token(data, &["--role", "admin", "--replace", "tester"])
}

/// The number of temperatures of a module that the hub has stored.
fn stored(hub: &BlockingHub, data: &Path, module: &str) -> usize {
    let path = format!("/api/sensors/temperature?limit=1000&module_id={module}");
    let (status, body) = hub.call("GET", &path, Some(&admin(data)), "");
    assert_eq!(status, 200, "{body}");
    body.matches("\"timestamp\"").count()
}

/// A folder in which a hub ran, was stopped and was killed: some readings are in the database, some in its
/// WAL.
fn used_data_folder(module: &str, stored: u32, in_wal: u32) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    for (readings, kill) in [(stored, false), (in_wal, true)] {
        let hub = BlockingHub::start(data.path(), "");
        for n in 0..readings {
            assert!(hub.record(module, n));
        }
        if kill {
            hub.kill()
        } else {
            hub.stop()
        };
    }
    assert!(fs::metadata(part(data.path(), "-wal")).unwrap().len() > 0, "some readings are in the WAL");
    data
}

fn quarantines(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().contains(".quarantine-")).collect()
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    let output = iotpi_hub(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output
}

#[test]
fn a_backup_is_made_while_the_hub_runs_and_restored_after_it_was_stopped() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let hub = BlockingHub::start(data, "");
    for n in 0..20 {
        assert!(hub.record("attic", n));
    }

    let backup = PathBuf::from(text(&run(data, &["backup"]).stdout).trim());
    for n in 0..10 {
        assert!(hub.record("attic", n));
    }
    let running = iotpi_hub(data, &["restore", "--force", backup.to_str().unwrap()]);
    assert_eq!(stored(&hub, data, "attic"), 30);
    hub.stop();
    let unforced = iotpi_hub(data, &["restore", backup.to_str().unwrap()]);
    let before = fs::read(part(data, "")).unwrap();
    let restored = run(data, &["restore", "--force", backup.to_str().unwrap()]);

    assert!(backup.starts_with(data.join("backups")), "{}", backup.display());
    assert!(!running.status.success() && text(&running.stderr).contains("stop it first"), "{running:?}");
    assert!(!unforced.status.success() && text(&unforced.stderr).contains("--force"), "{unforced:?}");
    let old_files = text(&restored.stderr).lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(fs::read(Path::new(&old_files).join("hub.db")).unwrap(), before);
    let hub = BlockingHub::start(data, "");
    assert_eq!(stored(&hub, data, "attic"), 20);
    hub.stop();
}

#[test]
fn a_backup_is_written_to_the_given_path_and_overwrites_no_file() {
    let data = used_data_folder("attic", 5, 5);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("mine.db");

    run(data.path(), &["backup", "--to", file.to_str().unwrap()]);
    let again = iotpi_hub(data.path(), &["backup", "--to", file.to_str().unwrap()]);
    let numbered = run(data.path(), &["backup", "--to", elsewhere.path().to_str().unwrap()]);

    assert!(!again.status.success() && text(&again.stderr).contains("is there already"), "{again:?}");
    assert!(text(&numbered.stdout).contains("/hub-000001-"), "{numbered:?}");
    // One file that needs no WAL: bytes 18 and 19 of the header contain the journal mode.
    assert_eq!(fs::read(&file).unwrap()[18..20], [1, 1]);
    let left = fs::read_dir(elsewhere.path()).unwrap().count();
    assert_eq!(left, 2);
    let fresh = tempfile::tempdir().unwrap();
    run(fresh.path(), &["restore", file.to_str().unwrap()]);
    let hub = BlockingHub::start(fresh.path(), "");
    assert_eq!(stored(&hub, fresh.path(), "attic"), 10);
    hub.stop();
}

#[test]
fn a_file_that_is_not_a_backup_is_not_restored() {
    let data = used_data_folder("attic", 5, 5);
    let before: Vec<_> = PARTS.map(|suffix| fs::read(part(data.path(), suffix)).ok()).into();
    let (rotten, empty) = (data.path().join("rotten.db"), data.path().join("empty.db"));
    fs::write(&rotten, vec![0x5a; 20_000]).unwrap();
    fs::write(&empty, "").unwrap();

    for wrong in [&rotten, &empty, &data.path().join("none.db")] {
        let refused = iotpi_hub(data.path(), &["restore", "--force", wrong.to_str().unwrap()]);

        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    }
    let after: Vec<_> = PARTS.map(|suffix| fs::read(part(data.path(), suffix)).ok()).into();
    assert_eq!(after, before);
}

#[test]
fn a_check_lists_the_content_of_a_database_and_reports_damage() {
    let data = used_data_folder("attic", 300, 5);

    let quick = text(&run(data.path(), &["check"]).stdout);
    let deep = text(&run(data.path(), &["check", "--deep"]).stdout);
    let file = part(data.path(), "");
    let mut bytes = fs::read(&file).unwrap();
    let from = bytes.len() - 2 * 4096;
    bytes[from..].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    let damaged = iotpi_hub(data.path(), &["check"]);

    assert!(quick.contains("  series") && quick.contains("sound"), "{quick}");
    assert!(deep.trim_end().ends_with("sound"), "{deep}");
    assert_eq!(damaged.status.code(), Some(1), "{damaged:?}");
    assert!(text(&damaged.stderr).contains("damaged"), "{damaged:?}");
    assert!(quarantines(data.path()).is_empty(), "a check changes nothing");
}

#[test]
fn the_shell_is_read_only_without_the_write_option() {
    let data = used_data_folder("attic", 5, 5);
    let shell = |extra: &[&str], sql: &str| {
        let arguments: Vec<_> = ["db", "shell"].iter().chain(extra).copied().chain([sql]).collect();
        iotpi_hub(data.path(), &arguments)
    };
    let missing = Command::new(PROGRAM)
        .args(["db", "shell"])
        .env("IOTPI_DATA", data.path())
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("apt install sqlite3"), "{missing:?}");

    if Command::new("sqlite3").arg("-version").output().is_err() {
        eprintln!("SKIPPED: the program sqlite3 is not installed, so the shell itself was not tested");
        return;
    }
    let read = shell(&[], "SELECT count(*) FROM series");
    let refused = shell(&[], "DELETE FROM series");
    let count_after = shell(&[], "SELECT count(*) FROM series");
    let written = shell(&["--write"], "CREATE TABLE mine (a); DROP TABLE mine");

    assert_eq!(text(&read.stdout).trim(), "1", "{read:?}");
    assert!(!refused.status.success() && text(&count_after.stdout).trim() == "1", "{refused:?}");
    assert!(written.status.success(), "{written:?}");
}

/// A modification of the files of a database, and whether it damages the database.
type Mutation = (&'static str, fn(&Path), bool);

const MUTATIONS: [Mutation; 9] = [
    ("truncated", |data| resize(&part(data, ""), 2), true),
    ("truncated within a page", |data| resize(&part(data, ""), 3), true),
    ("a header of zeros", |data| fill(&part(data, ""), 0, 100, 0), true),
    ("nothing but zeros", |data| fill(&part(data, ""), 0, usize::MAX, 0), true),
    ("garbage", |data| fill(&part(data, ""), 0, usize::MAX, 0xa5), true),
    ("garbage behind the first page", |data| fill(&part(data, ""), 4096, usize::MAX, 0xa5), true),
    ("empty, with its WAL", |data| fs::write(part(data, ""), "").unwrap(), true),
    ("missing, with its WAL", |data| fs::remove_file(part(data, "")).unwrap(), true),
    ("a garbage index of the WAL", |data| fs::write(part(data, "-shm"), vec![0xa5; 32_768]).unwrap(), false),
];

fn resize(file: &Path, divisor: u64) {
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(file.metadata().unwrap().len() / divisor).unwrap();
}

fn fill(file: &Path, from: usize, to: usize, byte: u8) {
    let mut bytes = fs::read(file).unwrap();
    let to = to.min(bytes.len());
    bytes[from..to].fill(byte);
    fs::write(file, bytes).unwrap();
}

/// Starts a hub on damaged files: it serves, all old files are byte for byte at the path it reports, and
/// every client is notified.
fn starts_on_damage(what: &str, data: &Path, backed_up: usize) {
    let old: Vec<_> = ["", "-wal"].map(|suffix| fs::read(part(data, suffix)).ok()).into();

    let hub = BlockingHub::start(data, "");

    assert_eq!(hub.call("GET", "/health", None, "").0, 200, "{what}");
    assert!(hub.record("shed", 1), "{what}");
    let found = quarantines(data);
    assert_eq!(found.len(), 1, "{what}");
    // Without a backup, some readings may be recovered from the damaged file.
    let stored = stored(&hub, data, "attic");
    assert!(stored == backed_up || backed_up == 0 && stored <= 35, "{what}: {stored}");
    let token = admin(data);
    let moved: Vec<_> =
        ["", "-wal"].map(|suffix| fs::read(found[0].join(format!("hub.db{suffix}"))).ok()).into();
    assert!(moved == old, "{what}: the old files were changed");
    let storage = hub.call("GET", "/api/storage", Some(&token), "").1;
    assert!(storage.contains("A damaged database was moved aside"), "{what}: {storage}");
    let metrics = hub.call("GET", "/metrics", Some(&token), "").1;
    assert!(metrics.contains("\niotpi_databases_quarantined 1\n"), "{what}");
    assert_eq!(hub.call("POST", "/api/storage/acknowledge", Some(&token), "").0, 204, "{what}");
    assert!(!hub.call("GET", "/api/storage", Some(&token), "").1.contains("moved aside"), "{what}");
    let stderr = hub.stop();
    assert!(
        stderr.lines().any(|line| line.starts_with("iotpi-hub: the database was damaged")),
        "{what}: {stderr}"
    );

    // The next start has nothing to repair.
    let hub = BlockingHub::start(data, "");
    assert_eq!((self::stored(&hub, data, "shed"), quarantines(data).len()), (1, 1), "{what}");
    hub.stop();
}

#[test]
fn a_hub_starts_on_damaged_files_with_its_newest_backup() {
    for (what, mutate, damages) in MUTATIONS {
        let data = used_data_folder("attic", 300, 5);
        run(data.path(), &["backup"]);
        mutate(data.path());

        if damages {
            starts_on_damage(what, data.path(), 305);
        } else {
            let hub = BlockingHub::start(data.path(), "");
            assert_eq!(
                (stored(&hub, data.path(), "attic"), quarantines(data.path()).len()),
                (305, 0),
                "{what}"
            );
            hub.stop();
        }
    }
}

#[test]
fn a_hub_starts_on_damaged_files_without_a_backup_too() {
    for (what, mutate, _) in MUTATIONS.into_iter().filter(|(_, _, damages)| *damages) {
        let data = used_data_folder("attic", 30, 5);
        mutate(data.path());

        starts_on_damage(what, data.path(), 0);
    }
}

#[test]
fn the_wal_of_another_database_is_not_applied() {
    let data = used_data_folder("attic", 30, 5);
    run(data.path(), &["backup"]);
    let other = used_data_folder("cellar", 900, 40);
    fs::copy(part(other.path(), "-wal"), part(data.path(), "-wal")).unwrap();
    fs::remove_file(part(data.path(), "-shm")).unwrap();

    starts_on_damage("the WAL of another database", data.path(), 35);
}

#[test]
fn a_database_of_another_program_is_refused_and_not_changed() {
    let data = used_data_folder("attic", 5, 1);
    let other = tempfile::tempdir().unwrap();
    fs::copy(part(data.path(), ""), part(other.path(), "")).unwrap();
    // The application id, at offset 68 of the header.
    fill(&part(other.path(), ""), 68, 72, 7);
    let before = fs::read(part(other.path(), "")).unwrap();

    let refused = iotpi_hub(other.path(), &["serve", "--listen", "127.0.0.1:0"]);

    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(text(&refused.stderr).contains("another program"), "{refused:?}");
    assert_eq!(fs::read(part(other.path(), "")).unwrap(), before);
    assert!(quarantines(other.path()).is_empty());
}

#[test]
fn a_second_hub_on_the_same_data_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let hub = BlockingHub::start(data.path(), "");

    let second = iotpi_hub(data.path(), &["serve", "--listen", "127.0.0.1:0"]);

    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(text(&second.stderr).contains("a hub has"), "{second:?}");
    assert!(hub.record("attic", 1));
    hub.stop();
}
