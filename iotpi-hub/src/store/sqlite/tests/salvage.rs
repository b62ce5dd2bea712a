//! What is saved of a database of which one page is damaged.

use std::{collections::BTreeMap, fs, path::Path};

use iotpi_core::{ModuleId, Quantity, Reading, Role, Sample, Timestamp, UserName};
use rusqlite::Connection;

use super::{super::recovery::offline::salvage, NOW, everything};
use crate::store::{
    MaintainStore as _, Salvaged, TokenRecord, UserRecord, WriteReadings as _, WriteUsers as _,
    sqlite::Sqlite,
};

const PAGE: usize = 512;
/// Each with as many readings.
const SERIES: u64 = 2;
/// Two chunks.
const FOLDED: u64 = 5_000;
const WAITING: u64 = 300;

fn noise(n: u64) -> f64 {
    // SplitMix64 (Steele et al. 2014): not compressed to nothing.
    let mut z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    f64::from_bits(0x3FF0_0000_0000_0000 | ((z ^ (z >> 31)) >> 12))
}

fn reading(series: u64, n: u64) -> Reading {
    let taken_at = Timestamp::from_micros(NOW.wall.as_micros() + i64::try_from(n).unwrap() * 1_000_000);
    let noise = noise(n * 8 + series);
    let module = ModuleId::new(format!("m{series}")).unwrap();
    Reading::new(module, Sample::new(Quantity::Temperature, noise), taken_at)
}

/// A database with chunks, a journal, users and tokens, in one file.
async fn make(path: &Path) {
    let store = super::open(path).await.unwrap();
    let record = async |from: u64, until: u64| {
        for n in (from..until).step_by(250) {
            let batch = (n..(n + 250).min(until)).flat_map(|n| (0..SERIES).map(move |of| reading(of, n)));
            store.record(batch.collect(), 100, NOW).await.unwrap();
        }
    };
    record(0, FOLDED).await;
    store.settle().await.unwrap();
    record(FOLDED, FOLDED + WAITING).await;
    let anna = UserRecord {
        name: UserName::new("anna").unwrap(),
        role: Role::Admin,
        password_hash: "$argon2id$v=19$...".to_owned(),
    };
    store.add_first_user(&anna, NOW).await.unwrap();
    for n in 0..20_u8 {
        let token = TokenRecord {
            id: format!("id-{n}"),
            name: UserName::new(format!("token-{n}")).unwrap(),
            role: Role::Viewer,
            module_id: None,
            created_at: NOW.wall,
            last_used_at: None,
        };
        store.add_token(&[n; 32], &token).await.unwrap();
    }
    store.close().await.unwrap();
}

/// Saves what can be read; the values of each module's readings, by when they were taken.
async fn saved(damaged: &Path, folder: &Path) -> (Salvaged, BTreeMap<String, Vec<Reading>>, Sqlite) {
    let new = folder.join("new.db");
    for part in ["", "-wal", "-shm", "-journal"] {
        let _ = fs::remove_file(super::super::with_suffix(&new, part));
    }
    let saved = salvage(damaged, &new).await.unwrap();
    let store = super::open(&new).await.unwrap();
    assert!(store.verify(true).await.unwrap().is_sound());
    let mut of_modules: BTreeMap<String, Vec<Reading>> = BTreeMap::new();
    for reading in everything(&store, true).await {
        of_modules.entry(reading.module_id.to_string()).or_default().push(reading);
    }
    (saved, of_modules, store)
}

/// Readings that were saved are what was recorded, in order.
fn assert_true(of_modules: &BTreeMap<String, Vec<Reading>>, what: &str) {
    for (module, readings) in of_modules {
        let series: u64 = module[1..].parse().unwrap();
        let mut last = None;
        for found in readings {
            let secs = found.taken_at.since(NOW.wall).as_secs();
            assert!(last.is_none_or(|last| last < secs), "{what}: once each");
            assert_eq!(found.outcome, reading(series, secs).outcome, "{what}");
            last = Some(secs);
        }
    }
}

#[tokio::test]
async fn a_damaged_page_loses_only_its_own_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (sound, damaged) = (folder.path().join("sound.db"), folder.path().join("damaged.db"));
    make(&sound).await;
    let bytes = fs::read(&sound).unwrap();
    let db = Connection::open(&sound).unwrap();
    let mut pages = db.prepare("SELECT pageno, name, pagetype, path FROM dbstat ORDER BY pageno").unwrap();
    let pages = pages
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect::<Vec<(usize, String, String, String)>>();
    let all = SERIES * (FOLDED + WAITING);
    let mut tried = BTreeMap::new();

    for (n, (page, table, kind, _)) in pages.iter().enumerate() {
        // Of those that are alike only some.
        let is_alike = |other: &&(usize, String, String, String)| (&other.1, &other.2) == (table, kind);
        let alike = pages.iter().filter(is_alike).count();
        let before = pages[..n].iter().filter(is_alike).count();
        let seldom = if std::env::var_os("IOTPI_TORTURE").is_some() { 1 } else { alike.div_ceil(2) };
        if before % seldom != 0 || table == "sqlite_schema" {
            continue;
        }
        let filling = [0x5a, 0][n % 2];
        let mut changed = bytes.clone();
        changed[(page - 1) * PAGE..page * PAGE].fill(filling);
        fs::write(&damaged, changed).unwrap();

        let what = format!("page {page}, {kind} of {table}");
        let (report, of_modules, store) = saved(&damaged, folder.path()).await;

        assert_true(&of_modules, &what);
        let left = of_modules.values().map(|readings| readings.len() as u64).sum::<u64>();
        assert_eq!(report.readings, left, "{what}");
        let lost = all - left;
        let may_be_lost = match (table.as_str(), kind.as_str()) {
            ("chunks", "overflow") => 4_096,
            // A leaf has some chunks.
            ("chunks", "leaf") => 4 * 4_096,
            ("wal", _) => 20_000,
            _ => 0,
        };
        assert!(lost <= may_be_lost, "{what}: {lost} lost");
        assert_eq!(report.readings_lost > 0, lost > 0 && table == "chunks", "{what}: {report}");
        if !["users", "sqlite_autoindex_users_1"].contains(&table.as_str()) {
            assert_eq!(report.users, 1, "{what}");
        }
        store.close().await.unwrap();
        *tried.entry((table.clone(), kind.clone())).or_insert(0) += 1;
    }

    println!("{tried:?}");
    assert!(tried.contains_key(&("chunks".to_owned(), "internal".to_owned())), "{tried:?}");
    assert!(tried.contains_key(&("series".to_owned(), "leaf".to_owned())), "{tried:?}");
}
