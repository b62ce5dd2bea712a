//! Databases with random damage. `IOTPI_SEED` repeats a run, whose seed is printed; `IOTPI_MUTATIONS` sets
//! the number of damaged databases.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use iotpi_hub::{Config, HubError, testing::TestHub};
use serde_json::json;

use crate::support::{
    api::{Api, NOW_SECS},
    seeded_random::SeededRandom,
};

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn config(folder: &Path) -> Config {
    Config { store: format!("sqlite://{}/hub.db", folder.display()), ..Config::default() }
}

/// A database file and its WAL, with 1,800 readings in each.
async fn intact_files(folder: &Path) -> [Vec<u8>; 2] {
    let mut files = [Vec::new(), Vec::new()];
    for round in 0..2_u32 {
        let api = Api::of(TestHub::opened(config(folder)).await.unwrap()).await;
        for batch in 0..6_u32 {
            let readings: Vec<_> = (0..300_u32)
                .map(|n| {
                    let at = NOW_SECS + f64::from(round * 1800 + batch * 300 + n);
                    json!({"module_id": format!("m{batch}"), "value": n, "timestamp": at})
                })
                .collect();
            api.post("/api/sensors/temperature", json!(readings)).ok().await;
        }
        files = ["hub.db", "hub.db-wal"].map(|name| fs::read(folder.join(name)).unwrap());
        api.stop().await;
    }
    files
}

/// Damages one of the files; returns a description.
fn damage(files: &mut [Vec<u8>; 2], random: &mut SeededRandom) -> String {
    let which = random.index(2);
    let other = files[1 - which].clone();
    let file = &mut files[which];
    let name = ["the database", "the WAL"][which];
    let (from, length) = (random.index(file.len()), 1 + random.index(9_000));
    let to = (from + length).min(file.len());
    match random.index(6) {
        0 => {
            file.truncate(from);
            format!("{name} truncated at {from}")
        }
        1 => {
            file[from..to].fill(0);
            format!("{name} zeroed from {from} to {to}")
        }
        2 => {
            file[from..to].iter_mut().for_each(|byte| *byte = u8::try_from(random.index(256)).unwrap());
            format!("{name} garbage from {from} to {to}")
        }
        3 => {
            let bit = random.index(8);
            file[from] ^= 1 << bit;
            format!("{name} bit {bit} of {from} flipped")
        }
        4 => {
            let (one, another) = (random.index(file.len() / 4096), random.index(file.len() / 4096));
            let page = file[one * 4096..(one + 1) * 4096].to_vec();
            file[another * 4096..(another + 1) * 4096].copy_from_slice(&page);
            format!("{name} page {one} copied over {another}")
        }
        _ => {
            *file = other;
            format!("{name} replaced by the other")
        }
    }
}

fn quarantine(folder: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.file_name().unwrap().to_string_lossy().contains(".quarantine-"))
}

/// Opens damaged files: the hub starts, or refuses them and changes nothing; a quarantine has all old files.
async fn open_damaged(files: &[Vec<u8>; 2], what: &str) -> &'static str {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    for (name, bytes) in ["hub.db", "hub.db-wal"].iter().zip(files) {
        fs::write(folder.join(name), bytes).unwrap();
    }
    let has_old_files = |folder: &Path| {
        ["hub.db", "hub.db-wal"]
            .iter()
            .zip(files)
            .all(|(name, bytes)| fs::read(folder.join(name)).unwrap_or_default() == *bytes)
    };
    let api = match TestHub::opened(config(folder)).await {
        Ok(hub) => Api::of(hub).await,
        Err(error) => {
            let causes = causes(&error);
            let is_foreign = causes.contains("another program") || causes.contains("newer hub");
            assert!(is_foreign, "{what}: {causes}");
            assert!(has_old_files(folder) && quarantine(folder).is_none(), "{what}: refused, and changed");
            return "refused";
        }
    };

    let health = api.get("/health").send().await.status;
    let wrote =
        api.post("/api/sensors/temperature", json!({"module_id": "new", "value": 1})).send().await.status;
    let read = api.get("/api/sensors/temperature?limit=1000").send().await.status;

    let Some(quarantined) = quarantine(folder) else {
        // Damage that no check can detect must not stop the hub either.
        assert!([200, 500].contains(&read) && [200, 500].contains(&wrote), "{what}: {read} {wrote}");
        api.hub.stop().await.unwrap();
        return "served unchanged";
    };
    assert_eq!((health, wrote, read), (200, 200, 200), "{what}");
    let reason = &api.hub.hub().recovered().unwrap().why;
    if reason.starts_with("The storage of the hub failed") {
        // The hub detected the damage when it first read. It may have committed to the WAL before.
        assert!(fs::read(quarantined.join("hub.db")).unwrap() == files[0], "{what}: {reason}");
    } else {
        assert!(
            has_old_files(&quarantined),
            "{what}: not all old files are in {}: {reason}",
            quarantined.display()
        );
    }
    api.stop().await;
    "quarantined"
}

fn causes(error: &HubError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_database_damaged_anywhere_is_served_or_quarantined_completely() {
    let seed = number("IOTPI_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let count = number("IOTPI_MUTATIONS").unwrap_or(200);
    println!("IOTPI_SEED={seed} IOTPI_MUTATIONS={count}");
    let folder = tempfile::tempdir().unwrap();
    let files = intact_files(folder.path()).await;
    assert!(files.iter().all(|file| file.len() > 20_000), "one of the files is too short");
    let mut random = SeededRandom::new(seed);
    let mut outcomes = std::collections::BTreeMap::<_, u32>::new();

    for _ in 0..count {
        let mut damaged = files.clone();
        let what = damage(&mut damaged, &mut random);
        *outcomes.entry(open_damaged(&damaged, &format!("seed {seed}, {what}")).await).or_default() += 1;
    }

    println!("{outcomes:?}");
    assert!(
        outcomes.get("quarantined").is_some_and(|quarantined| u64::from(*quarantined) > count / 10),
        "{outcomes:?}"
    );
}
