//! A simulated day on an SD card: 50 modules with one reading per second each, and the commit window of such
//! a card. It reports the bytes written to the device in that day and the stored bytes of a reading. The day
//! runs as fast as the disk syncs, with the commits of a real day: the readings of a window are one commit.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss)]

use std::{fs, time::Duration};

use iotpi_benches::{Random, folder};
use iotpi_core::{Quantity, Reading, Sample, Timestamp, model::reading::SeqNo};
use iotpi_hub::store::{self, Now, Steady};

const MODULES: u64 = 50;
const DAY_SECS: u64 = 86_400;
/// The window of 200 ms, the mean time until the reading that opens it, and the sync of a card (10 ms).
const COMMIT_EVERY_MICROS: u64 = 230_000;

fn main() {
    let secs: u64 =
        std::env::var("IOTPI_BENCH_SECS").ok().and_then(|text| text.parse().ok()).unwrap_or(DAY_SECS);
    let folder = folder().unwrap();
    let path = folder.path().join("hub.db");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = store::open(&format!("sqlite://{}", path.display())).await.unwrap();
        let begin = Timestamp::from_micros(1_795_472_000_000_000);
        let (mut written, mut recorded) = (written_bytes(), 0_u64);
        let started = std::time::Instant::now();
        let mut random = Random(1);
        let (mut batch, mut commit_at, mut maintain_at) = (Vec::new(), COMMIT_EVERY_MICROS, 60_000_000);
        let mut commits = 0_u64;
        for n in 0..secs * MODULES {
            // The modules take their readings at different times of the second, with the jitter of a timer
            // and a network.
            let (module, second) = (n % MODULES, n / MODULES);
            let taken = n * (1_000_000 / MODULES) + random.below(900);
            let received = taken + 1_000 + random.below(4_000);
            // The temperature of a room: a slow wave, the noise of a sensor, two digits.
            let wave = 21.0 + 3.0 * (second as f64 / 13_750.0 + module as f64).sin();
            let value = ((wave + random.below(40) as f64 / 100.0) * 100.0).round() / 100.0;
            let reading = Reading::new(
                format!("module-{module}").parse().unwrap(),
                Sample::new(Quantity::Temperature, value),
                begin.plus(Duration::from_micros(taken)),
            );
            batch.push(
                reading
                    .with_received_at(begin.plus(Duration::from_micros(received)))
                    .with_number(SeqNo { epoch: 1 + module, seq: second + 1 }),
            );
            if received >= commit_at {
                let at = begin.plus(Duration::from_micros(received));
                let now = Now { wall: at, steady: Steady(at) };
                recorded += batch.len() as u64;
                commits += 1;
                store.record(std::mem::take(&mut batch), 1000, now).await.unwrap();
                commit_at = received + COMMIT_EVERY_MICROS;
                if received >= maintain_at {
                    store.maintain(now).await.unwrap();
                    maintain_at += 60_000_000;
                }
            }
        }
        let took = started.elapsed();
        written = written_bytes() - written;
        store.compact().await.unwrap();
        let disk_use = store.disk_use().await.unwrap();
        let wal = wal_bytes(&path);
        let at_rest = disk_use.database_bytes - disk_use.reusable_bytes - wal;
        let days = secs as f64 / DAY_SECS as f64;
        println!(
            "simulated {secs} s of {MODULES} modules at 1 Hz in {:.0} s: {commits} commits",
            took.as_secs_f64()
        );
        println!(
            "written to the device: {:.2} GB a day ({} bytes a commit)",
            written as f64 / days / 1e9,
            written / commits
        );
        println!(
            "at rest: {:.2} bytes a reading, rollups included ({:.1} MB of {:.1} MB; the WAL takes {:.1} MB)",
            at_rest as f64 / recorded as f64,
            at_rest as f64 / 1e6,
            disk_use.database_bytes as f64 / 1e6,
            wal as f64 / 1e6,
        );
        store.close().await.unwrap();
    });
}

/// The bytes that this process has written to devices: `/proc/self/io`.
fn written_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

/// The size of the WAL table.
fn wal_bytes(path: &std::path::Path) -> u64 {
    let db = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    db.query_row("SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = 'wal'", [], |row| row.get(0))
        .or_else(|_| db.query_row("SELECT coalesce(sum(length(record)), 0) FROM wal", [], |row| row.get(0)))
        .unwrap()
}
