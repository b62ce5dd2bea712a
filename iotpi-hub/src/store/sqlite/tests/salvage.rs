//! Salvage of a database with one damaged page.

use std::{collections::BTreeMap, fs, path::Path};

use iotpi_core::{
    ModuleId, Quantity, Reading, Sample, Timestamp,
    model::{id::UserName, role::Role},
};
use rusqlite::Connection;

use super::{super::recovery::offline::salvage, NOW, all_readings};
use crate::store::{
    MaintainStore as _, Salvaged, TokenRecord, UserRecord, WriteReadings as _, WriteUsers as _,
    sqlite::Sqlite,
};

const PAGE: usize = 512;
/// Series, each with the same number of readings.
const SERIES: u64 = 2;
/// Readings of each series in its two chunks.
const COMPACTED: u64 = 5_000;
/// Readings of each series in the WAL.
const IN_WAL: u64 = 300;

fn noise(n: u64) -> f64 {
    // SplitMix64 (Steele et al. 2014): the values do not compress well.
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

/// Creates a database with chunks, a WAL, users and tokens, in one file.
async fn create(path: &Path) {
    let store = super::open(path).await.unwrap();
    let record = async |from: u64, until: u64| {
        for n in (from..until).step_by(250) {
            let batch = (n..(n + 250).min(until)).flat_map(|n| (0..SERIES).map(move |of| reading(of, n)));
            store.record(batch.collect(), 100, NOW).await.unwrap();
        }
    };
    record(0, COMPACTED).await;
    store.compact().await.unwrap();
    record(COMPACTED, COMPACTED + IN_WAL).await;
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

/// Salvages a database. Returns the report, the readings of each module by time, and the new store.
async fn salvage_into_new(
    damaged: &Path,
    folder: &Path,
) -> (Salvaged, BTreeMap<String, Vec<Reading>>, Sqlite) {
    let new = folder.join("new.db");
    for part in ["", "-wal", "-shm", "-journal"] {
        let _ = fs::remove_file(super::super::with_suffix(&new, part));
    }
    let report = salvage(damaged, &new).await.unwrap();
    let store = super::open(&new).await.unwrap();
    assert!(store.verify(true).await.unwrap().is_sound());
    let mut by_module: BTreeMap<String, Vec<Reading>> = BTreeMap::new();
    for reading in all_readings(&store).await {
        by_module.entry(reading.module_id.to_string()).or_default().push(reading);
    }
    (report, by_module, store)
}

/// Asserts that each salvaged reading equals the recorded one, in order and once.
fn assert_recorded(by_module: &BTreeMap<String, Vec<Reading>>, case: &str) {
    for (module, readings) in by_module {
        let series: u64 = module[1..].parse().unwrap();
        let mut last = None;
        for found in readings {
            let secs = found.taken_at.since(NOW.wall).as_secs();
            assert!(last.is_none_or(|last| last < secs), "{case}: each reading once");
            assert_eq!(found.outcome, reading(series, secs).outcome, "{case}");
            last = Some(secs);
        }
    }
}

#[tokio::test]
async fn a_damaged_page_loses_only_its_own_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (sound, damaged) = (folder.path().join("sound.db"), folder.path().join("damaged.db"));
    create(&sound).await;
    let bytes = fs::read(&sound).unwrap();
    let db = Connection::open(&sound).unwrap();
    let mut pages = db.prepare("SELECT pageno, name, pagetype, path FROM dbstat ORDER BY pageno").unwrap();
    let pages = pages
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect::<Vec<(usize, String, String, String)>>();
    let all = SERIES * (COMPACTED + IN_WAL);
    let mut tested = BTreeMap::new();

    for (n, (page, table, kind, _)) in pages.iter().enumerate() {
        // Only some pages of each kind are damaged, to save time.
        let is_same_kind = |other: &&(usize, String, String, String)| (&other.1, &other.2) == (table, kind);
        let same_kind = pages.iter().filter(is_same_kind).count();
        let before = pages[..n].iter().filter(is_same_kind).count();
        let step = if std::env::var_os("IOTPI_TORTURE").is_some() { 1 } else { same_kind.div_ceil(2) };
        if before % step != 0 || table == "sqlite_schema" {
            continue;
        }
        let filler = [0x5a, 0][n % 2];
        let mut changed = bytes.clone();
        changed[(page - 1) * PAGE..page * PAGE].fill(filler);
        fs::write(&damaged, changed).unwrap();

        let case = format!("page {page}, {kind} of {table}");
        let (report, by_module, store) = salvage_into_new(&damaged, folder.path()).await;

        assert_recorded(&by_module, &case);
        let remaining = by_module.values().map(|readings| readings.len() as u64).sum::<u64>();
        assert_eq!(report.readings, remaining, "{case}");
        let lost = all - remaining;
        let max_lost = match (table.as_str(), kind.as_str()) {
            ("chunks", "overflow") => 4_096,
            // A leaf page has several chunks.
            ("chunks", "leaf") => 4 * 4_096,
            ("wal", _) => 20_000,
            _ => 0,
        };
        assert!(lost <= max_lost, "{case}: {lost} lost");
        assert_eq!(report.readings_lost > 0, lost > 0 && table == "chunks", "{case}: {report}");
        if !["users", "sqlite_autoindex_users_1"].contains(&table.as_str()) {
            assert_eq!(report.users, 1, "{case}");
        }
        store.close().await.unwrap();
        *tested.entry((table.clone(), kind.clone())).or_insert(0) += 1;
    }

    println!("{tested:?}");
    assert!(tested.contains_key(&("chunks".to_owned(), "internal".to_owned())), "{tested:?}");
    assert!(tested.contains_key(&("series".to_owned(), "leaf".to_owned())), "{tested:?}");
}
