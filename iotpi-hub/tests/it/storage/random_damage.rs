//! Databases damaged at random. The seed is printed; `IOTPI_SEED` reruns it, `IOTPI_MUTATIONS` says how many
//! there are.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use iotpi_hub::{Config, HubError, testing::TestHub};
use serde_json::json;

use crate::support::api::{Api, NOW_SECS};

/// Numbers that look like chance and follow from the seed (splitmix64, Steele et al. 2014).
struct SeededRandom(u64);

impl SeededRandom {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end.max(1) as u64).unwrap()
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn config(folder: &Path) -> Config {
    Config { store: format!("sqlite://{}/hub.db", folder.display()), ..Config::default() }
}

/// The files of a database and its WAL, with 600 readings in each.
async fn sound(folder: &Path) -> [Vec<u8>; 2] {
    let mut files = [Vec::new(), Vec::new()];
    for round in 0..2_u32 {
        let api = Api::of(TestHub::opened(config(folder)).await.unwrap()).await;
        for batch in 0..6_u32 {
            let readings: Vec<_> = (0..100_u32)
                .map(|n| {
                    let at = NOW_SECS + f64::from(round * 600 + batch * 100 + n);
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

/// Spoils one of the files, and says how.
fn spoil(files: &mut [Vec<u8>; 2], random: &mut SeededRandom) -> String {
    let which = random.below(2);
    let other = files[1 - which].clone();
    let file = &mut files[which];
    let name = ["the database", "the WAL"][which];
    let (from, length) = (random.below(file.len()), 1 + random.below(9_000));
    let to = (from + length).min(file.len());
    match random.below(6) {
        0 => {
            file.truncate(from);
            format!("{name} truncated at {from}")
        }
        1 => {
            file[from..to].fill(0);
            format!("{name} zeroed from {from} to {to}")
        }
        2 => {
            file[from..to].iter_mut().for_each(|byte| *byte = u8::try_from(random.below(256)).unwrap());
            format!("{name} garbage from {from} to {to}")
        }
        3 => {
            let bit = random.below(8);
            file[from] ^= 1 << bit;
            format!("{name} bit {bit} of {from} flipped")
        }
        4 => {
            let (one, another) = (random.below(file.len() / 4096), random.below(file.len() / 4096));
            let page = file[one * 4096..(one + 1) * 4096].to_vec();
            file[another * 4096..(another + 1) * 4096].copy_from_slice(&page);
            format!("{name} page {one} written over {another}")
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

/// It starts, or refuses and touches nothing; what is put aside is all there.
async fn survives(files: &[Vec<u8>; 2], what: &str) -> &'static str {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    for (name, bytes) in ["hub.db", "hub.db-wal"].iter().zip(files) {
        fs::write(folder.join(name), bytes).unwrap();
    }
    let same = |folder: &Path| {
        ["hub.db", "hub.db-wal"]
            .iter()
            .zip(files)
            .all(|(name, bytes)| fs::read(folder.join(name)).unwrap_or_default() == *bytes)
    };
    let api = match TestHub::opened(config(folder)).await {
        Ok(hub) => Api::of(hub).await,
        Err(error) => {
            let why = causes(&error);
            assert!(why.contains("another program") || why.contains("newer hub"), "{what}: {why}");
            assert!(same(folder) && quarantine(folder).is_none(), "{what}: refused, and touched");
            return "refused";
        }
    };

    let health = api.get("/health").send().await.status;
    let wrote =
        api.post("/api/sensors/temperature", json!({"module_id": "new", "value": 1})).send().await.status;
    let read = api.get("/api/sensors/temperature?limit=1000").send().await.status;

    let aside = quarantine(folder);
    let Some(aside) = aside else {
        // What no check can tell from a sound database must not make the hub fall either.
        assert!([200, 500].contains(&read) && [200, 500].contains(&wrote), "{what}: {read} {wrote}");
        api.hub.stop().await.unwrap();
        return "served as it is";
    };
    assert_eq!((health, wrote, read), (200, 200, 200), "{what}");
    let why = &api.hub.hub().recovered().unwrap().why;
    if why.starts_with("The storage of the hub failed") {
        // It showed when the hub began to read, which may have committed a little to the WAL before.
        assert!(fs::read(aside.join("hub.db")).unwrap() == files[0], "{what}: {why}");
    } else {
        assert!(same(&aside), "{what}: not all old files are in {}: {why}", aside.display());
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
    let many = number("IOTPI_MUTATIONS").unwrap_or(200);
    println!("IOTPI_SEED={seed} IOTPI_MUTATIONS={many}");
    let home = tempfile::tempdir().unwrap();
    let files = sound(home.path()).await;
    assert!(files.iter().all(|file| file.len() > 20_000), "both have something to damage");
    let mut random = SeededRandom(seed);
    let mut ended = std::collections::BTreeMap::<_, u32>::new();

    for _ in 0..many {
        let mut spoiled = files.clone();
        let what = spoil(&mut spoiled, &mut random);
        *ended.entry(survives(&spoiled, &format!("seed {seed}, {what}")).await).or_default() += 1;
    }

    println!("{ended:?}");
    assert!(
        ended.get("quarantined").is_some_and(|many_put_aside| u64::from(*many_put_aside) > many / 10),
        "{ended:?}"
    );
}
