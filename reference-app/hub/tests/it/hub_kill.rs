//! `kill -9` of the hub at random moments under load: every acknowledged reading is stored exactly once.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use iotpi_core::{HubClient, ModuleId, Quantity, Reading, Sample, Timestamp, model::reading::SeqNo};
use rusqlite::Connection;
use tokio::sync::Notify;

use crate::support::{
    blocking_hub::BlockingHub,
    hub_process::HubProcess,
    program::add_token,
    seeded_random::{PrintSeedOnPanic, SeededRandom, seeds, torture},
    wait::{LIMIT, bounded},
};

/// Connections that deliver readings, each for a separate module.
const CONNECTIONS: u64 = 6;
/// A hub is killed before it has acknowledged this many further calls.
const CALLS: u64 = 200;

/// Whether unanswered calls are sent again. Readings with a sequence number are stored once however often
/// they are sent; [`numbered`] sets the number.
const SENDS_AGAIN: bool = true;

/// Sets the sequence number of a reading. The only function that does.
fn numbered(reading: Reading, seq: u64) -> Reading {
    reading.with_number(SeqNo { epoch: 1, seq })
}

/// The readings one module sent.
struct Sender {
    id: ModuleId,
    random: SeededRandom,
    count: u64,
    calls: Vec<Call>,
}

struct Call {
    readings: Vec<Reading>,
    acknowledged: bool,
}

/// The state shared by all senders.
#[derive(Default)]
struct Load {
    acknowledged: AtomicU64,
    enough: AtomicU64,
    reached: Notify,
}

impl Sender {
    fn new(n: u64, seed: u64) -> Self {
        let id = ModuleId::new(format!("module-{n}")).unwrap();
        Self { id, random: SeededRandom::new(seed ^ (n << 32)), count: 0, calls: Vec::new() }
    }

    fn next(&mut self) -> Vec<Reading> {
        let size = if self.random.one_in(3) { 2 + self.random.below(9) } else { 1 };
        (0..size)
            .map(|_| {
                self.count += 1;
                let at =
                    Timestamp::from_micros(1_795_472_000_000_000).plus(Duration::from_millis(self.count));
                let sample = Sample::new(Quantity::Temperature, self.count as f64);
                numbered(Reading::new(self.id.clone(), sample, at), self.count)
            })
            .collect()
    }

    /// Sends one call after another until one gets no response.
    async fn deliver(mut self, hub: HubClient, load: Arc<Load>) -> Self {
        loop {
            let again = self.calls.last().is_some_and(|call| SENDS_AGAIN && !call.acknowledged);
            if !again {
                let readings = self.next();
                self.calls.push(Call { readings, acknowledged: false });
            }
            let call = self.calls.last_mut().unwrap();
            if hub.record(&call.readings).await.is_err() {
                return self;
            }
            call.acknowledged = true;
            if load.acknowledged.fetch_add(1, Ordering::SeqCst) + 1 >= load.enough.load(Ordering::SeqCst) {
                load.reached.notify_one();
            }
        }
    }
}

/// How often each value of a module is stored.
async fn stored(hub: &HubClient, id: &ModuleId) -> HashMap<u64, u64> {
    let mut filter = iotpi_core::ReadingFilter::of(id.clone()).limit(1000).ascending();
    let mut stored = HashMap::new();
    loop {
        let page = hub.readings(&Quantity::Temperature.name(), &filter).await.unwrap();
        for reading in page.items {
            *stored.entry(reading.outcome.value().unwrap() as u64).or_default() += 1;
        }
        match page.next {
            None => return stored,
            cursor => filter.cursor = cursor,
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_at_any_moment() {
    let seed = seeds(1, 1).next().unwrap();
    let _print_seed = PrintSeedOnPanic { test: "kill_9", seed };
    let kills =
        std::env::var("IOTPI_KILLS").map_or(if torture() { 2000 } else { 50 }, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let token = add_token(folder.path(), &["--role", "viewer", "reader"]);
    let mut random = SeededRandom::new(seed);
    let mut senders: Vec<_> = (0..CONNECTIONS).map(|n| Sender::new(n, seed)).collect();
    let mut ready = Vec::new();
    let began = Instant::now();

    for _ in 0..kills {
        let hub = HubProcess::start(folder.path()).await;
        ready.push(hub.ready_after);
        let load = Arc::new(Load::default());
        load.enough.store(1 + random.below(CALLS), Ordering::SeqCst);
        let delivering: Vec<_> = senders
            .drain(..)
            .map(|sender| tokio::spawn(sender.deliver(hub.client.clone(), Arc::clone(&load))))
            .collect();
        bounded("enough calls are acknowledged", load.reached.notified()).await;

        hub.kill().await;
        for sender in delivering {
            senders.push(bounded("the end of a sender", sender).await.unwrap());
        }
    }

    let hub = HubProcess::start(folder.path()).await;
    ready.push(hub.ready_after);
    let reader = hub.client.clone().with_token(token);
    let (mut acknowledged, mut lost, mut twice, mut unanswered) = (0_u64, 0, 0, 0_u64);
    for sender in &senders {
        let mut stored = stored(&reader, &sender.id).await;
        for call in &sender.calls {
            let times = call
                .readings
                .iter()
                .map(|reading| stored.remove(&(reading.outcome.value().unwrap() as u64)).unwrap_or(0));
            let times: Vec<u64> = times.collect();
            twice += times.iter().filter(|times| **times > 1).count();
            if call.acknowledged {
                acknowledged += times.len() as u64;
                lost += times.iter().filter(|times| **times == 0).count();
            } else {
                unanswered += 1;
                assert!(
                    times.windows(2).all(|pair| pair[0] == pair[1]),
                    "a part of a call was stored: {times:?}"
                );
            }
        }
        assert!(stored.is_empty(), "readings that no sender sent: {stored:?}");
    }
    let (status, stderr) = hub.stop().await;
    ready.sort_unstable();
    println!(
        "{kills} kills: {acknowledged} readings acknowledged, {lost} lost, {twice} stored twice, {unanswered} calls not \
         answered; ready again after {:?} at the median, {:?} at worst; {:.1} s",
        ready[ready.len() / 2],
        ready[ready.len() - 1],
        began.elapsed().as_secs_f64()
    );
    assert_eq!((lost, twice), (0, 0));
    assert!(status.success(), "{stderr}");
    let db = Connection::open(folder.path().join("hub.db")).unwrap();
    let integrity: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
}

#[tokio::test]
async fn a_hub_whose_store_fails_exits_and_the_next_start_has_every_acknowledged_reading() {
    let folder = tempfile::tempdir().unwrap();
    let token = add_token(folder.path(), &["--role", "viewer", "reader"]);
    let database = folder.path().join("hub.db");
    let hub = HubProcess::start(folder.path()).await;
    let mut sender = Sender::new(1, 1);
    let sent = sender.next();
    hub.client.record(&sent).await.unwrap();
    hub.stop().await;
    let intact = std::fs::read(&database).unwrap();

    // The SD card fails while the hub runs: everything but the first page is overwritten.
    let hub = HubProcess::start(folder.path()).await;
    let bad: Vec<u8> =
        intact[..4096].iter().copied().chain(std::iter::repeat_n(0x5a, intact.len() - 4096)).collect();
    std::fs::write(&database, bad).unwrap();
    let mut refused = false;
    for n in 0..1000 {
        refused = hub.client.record(&Sender::new(n, n).next()).await.is_err();
        if refused {
            break;
        }
    }
    let (status, stderr) = hub.wait_for_exit().await;

    assert!(refused);
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(
        stderr.lines().last().is_some_and(|line| line.starts_with("iotpi-hub: the store failed")),
        "{stderr}"
    );

    // The card is readable again.
    for file in ["hub.db-wal", "hub.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(file));
    }
    std::fs::write(&database, intact).unwrap();
    let hub = HubProcess::start(folder.path()).await;
    let stored = stored(&hub.client.clone().with_token(token), &sender.id).await;
    assert_eq!(stored.len(), sent.len());
    hub.stop().await;
}

/// As many readings as are compacted at once, over 25 years: some 300 chunks, because none spans more than 30
/// days.
fn years_of_readings() -> Vec<String> {
    let reading = |n: u32| {
        let taken_at = 978_307_200 + i64::from(n) * 90_000;
        format!(r#"{{"module_id":"attic","value":{},"unit":"celsius","timestamp":{taken_at}}}"#, n % 30)
    };
    (0..9)
        .map(|batch| (batch * 1000..(batch + 1) * 1000).map(reading).collect::<Vec<_>>().join(","))
        .collect()
}

fn count(data: &Path, rows: &str) -> u64 {
    let db = Connection::open(data.join("hub.db")).unwrap();
    db.busy_timeout(LIMIT).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {rows}"), [], |row| row.get(0)).unwrap()
}

/// Records other readings until the row count is as required: the writer thread compacts and deletes one step
/// after each write.
fn until(hub: &BlockingHub, data: &Path, rows: &str, is_enough: impl Fn(u64) -> bool) {
    let began = Instant::now();
    while !is_enough(count(data, rows)) {
        assert!(
            began.elapsed() < LIMIT,
            "not within {LIMIT:?}: the count of {rows} is {}",
            count(data, rows)
        );
        assert!(hub.record("other", 1));
    }
}

#[test]
fn a_removal_of_a_module_that_kill_9_interrupted_is_completed_after_the_next_start() {
    const CHUNKS_LEFT: &str =
        "chunks WHERE series_id IN (SELECT id FROM series WHERE module_id = '.removed')";
    let folder = tempfile::tempdir().unwrap();
    let admin = add_token(folder.path(), &["--role", "admin", "remover"]);
    let module_status = |hub: &BlockingHub| hub.call("GET", "/api/modules/attic", Some(&admin), "").0;
    let batches = years_of_readings();

    // A removal may finish before the signal arrives.
    let was_interrupted = (0..20).any(|_| {
        let hub = BlockingHub::start(folder.path(), "");
        for batch in &batches {
            assert_eq!(hub.call("POST", "/api/sensors/temperature", None, &format!("[{batch}]")).0, 200);
        }
        until(&hub, folder.path(), "chunks", |chunks| chunks > 300);
        assert_eq!(module_status(&hub), 200);

        assert_eq!(hub.call("DELETE", "/api/modules/attic", Some(&admin), "").0, 204);
        hub.kill();
        let left = count(folder.path(), CHUNKS_LEFT);

        let hub = BlockingHub::start(folder.path(), "");
        assert_eq!(module_status(&hub), 404, "with {left} chunks left");
        until(&hub, folder.path(), CHUNKS_LEFT, |chunks| chunks == 0);
        assert_eq!(module_status(&hub), 404);
        hub.stop();
        left > 0
    });

    assert!(was_interrupted, "every removal was complete before the kill");
    assert_eq!(count(folder.path(), "modules WHERE id <> 'other'"), 0);
    let db = Connection::open(folder.path().join("hub.db")).unwrap();
    let integrity: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
}
