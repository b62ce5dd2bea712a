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

use iotpi_core::{HubClient, ModuleId, Quantity, Reading, Sample, SeqNo, Timestamp};
use rusqlite::Connection;
use tokio::sync::Notify;

use crate::{
    iotpi_hub,
    process::{DEADLINE, Running},
    seeded_random::{PrintSeedOnPanic, SeededRandom, seeds, torture},
    test_hub, text,
};

/// Connections that deliver readings, each for a module of its own.
const CONNECTIONS: u64 = 6;
/// A hub is killed before it has acknowledged this many further calls.
const CALLS: u64 = 200;

/// Whether unanswered calls are sent again. Readings with a sequence number are stored once however often
/// they are sent; [`numbered`] sets the number.
const SENDS_AGAIN: bool = true;

/// Sets the sequence number of a reading. The only function that does.
fn numbered(reading: Reading, seq: u64) -> Reading {
    Reading { number: Some(SeqNo { epoch: 1, seq }), ..reading }
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

    /// Sends one call after another until one gets no answer.
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

/// Every reading of a module, by its value.
async fn kept(hub: &HubClient, id: &ModuleId) -> HashMap<u64, u64> {
    let mut filter = iotpi_core::ReadingFilter {
        module_id: Some(id.clone()),
        limit: Some(1000),
        ascending: true,
        ..iotpi_core::ReadingFilter::default()
    };
    let mut kept = HashMap::new();
    loop {
        let page = hub.readings(&Quantity::Temperature.name(), &filter).await.unwrap();
        for reading in page.items {
            *kept.entry(reading.outcome.value().unwrap() as u64).or_default() += 1;
        }
        match page.next {
            None => return kept,
            cursor => filter.cursor = cursor,
        }
    }
}

fn viewer(data: &Path) -> String {
    let made = iotpi_hub(data, &["token", "add", "--role", "viewer", "reader"]);
    text(&made.stdout).trim().to_owned()
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_at_any_moment() {
    let seed = seeds(1, 1).next().unwrap();
    let _print_seed = PrintSeedOnPanic { test: "kill_9", seed };
    let kills =
        std::env::var("IOTPI_KILLS").map_or(if torture() { 2000 } else { 50 }, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let token = viewer(folder.path());
    let mut random = SeededRandom::new(seed);
    let mut senders: Vec<_> = (0..CONNECTIONS).map(|n| Sender::new(n, seed)).collect();
    let mut ready = Vec::new();
    let began = Instant::now();

    for _ in 0..kills {
        let hub = Running::start(folder.path()).await;
        ready.push(hub.ready_after);
        let load = Arc::new(Load::default());
        load.enough.store(1 + random.below(CALLS), Ordering::SeqCst);
        let delivering: Vec<_> = senders
            .drain(..)
            .map(|sender| tokio::spawn(sender.deliver(hub.client.clone(), Arc::clone(&load))))
            .collect();
        tokio::time::timeout(DEADLINE, load.reached.notified()).await.expect("the hub acknowledges");

        hub.kill().await;
        for sender in delivering {
            senders.push(tokio::time::timeout(DEADLINE, sender).await.expect("an end").unwrap());
        }
    }

    let hub = Running::start(folder.path()).await;
    ready.push(hub.ready_after);
    let reader = hub.client.clone().with_token(token);
    let (mut acknowledged, mut lost, mut twice, mut unanswered) = (0_u64, 0, 0, 0_u64);
    for sender in &senders {
        let mut kept = kept(&reader, &sender.id).await;
        for call in &sender.calls {
            let times = call
                .readings
                .iter()
                .map(|reading| kept.remove(&(reading.outcome.value().unwrap() as u64)).unwrap_or(0));
            let times: Vec<u64> = times.collect();
            twice += times.iter().filter(|times| **times > 1).count();
            if call.acknowledged {
                acknowledged += times.len() as u64;
                lost += times.iter().filter(|times| **times == 0).count();
            } else {
                unanswered += 1;
                assert!(
                    times.windows(2).all(|pair| pair[0] == pair[1]),
                    "a call is kept whole or not: {times:?}"
                );
            }
        }
        assert!(kept.is_empty(), "nobody sent {kept:?}");
    }
    let (status, said) = hub.end().await;
    ready.sort_unstable();
    println!(
        "{kills} kills: {acknowledged} readings acknowledged, {lost} lost, {twice} kept twice, {unanswered} calls not \
         answered; ready again after {:?} at the median, {:?} at worst; {:.1} s",
        ready[ready.len() / 2],
        ready[ready.len() - 1],
        began.elapsed().as_secs_f64()
    );
    assert_eq!((lost, twice), (0, 0));
    assert!(status.success(), "{said}");
    let db = Connection::open(folder.path().join("hub.db")).unwrap();
    let sound: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[tokio::test]
async fn a_hub_whose_store_failed_ends_and_the_next_has_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let token = viewer(folder.path());
    let database = folder.path().join("hub.db");
    let hub = Running::start(folder.path()).await;
    let mut sender = Sender::new(1, 1);
    let sent = sender.next();
    hub.client.record(&sent).await.unwrap();
    hub.end().await;
    let sound = std::fs::read(&database).unwrap();

    // The SD card fails while the hub runs: everything but the first page is overwritten.
    let hub = Running::start(folder.path()).await;
    let bad: Vec<u8> =
        sound[..4096].iter().copied().chain(std::iter::repeat_n(0x5a, sound.len() - 4096)).collect();
    std::fs::write(&database, bad).unwrap();
    let mut refused = false;
    for n in 0..1000 {
        refused = hub.client.record(&Sender::new(n, n).next()).await.is_err();
        if refused {
            break;
        }
    }
    let (status, said) = hub.ended().await;

    assert!(refused);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.lines().last().is_some_and(|line| line.starts_with("iotpi-hub: the store failed")),
        "{said}"
    );

    // On a card that is readable again.
    for beside in ["hub.db-wal", "hub.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(beside));
    }
    std::fs::write(&database, sound).unwrap();
    let hub = Running::start(folder.path()).await;
    let kept = kept(&hub.client.clone().with_token(token), &sender.id).await;
    assert_eq!(kept.len(), sent.len());
    hub.end().await;
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
    db.busy_timeout(DEADLINE).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {rows}"), [], |row| row.get(0)).unwrap()
}

/// Records other readings until the row count is as required: the writer thread compacts and deletes one step
/// after each write.
fn until(hub: &test_hub::Running, data: &Path, rows: &str, is_enough: impl Fn(u64) -> bool) {
    let began = Instant::now();
    while !is_enough(count(data, rows)) {
        assert!(began.elapsed() < DEADLINE, "{rows}: {}", count(data, rows));
        assert!(hub.record("other", 1));
    }
}

#[test]
fn a_module_whose_removal_kill_9_ended_half_way_is_gone_after_the_next_start() {
    const CHUNKS_LEFT: &str =
        "chunks WHERE series_id IN (SELECT id FROM series WHERE module_id = '.removed')";
    let folder = tempfile::tempdir().unwrap();
    let made = iotpi_hub(folder.path(), &["token", "add", "--role", "admin", "remover"]);
    let admin = text(&made.stdout).trim().to_owned();
    let module = |hub: &test_hub::Running| hub.call("GET", "/api/modules/attic", Some(&admin), "").0;
    let batches = years_of_readings();

    // A removal may finish before the signal arrives.
    let was_half_way = (0..20).any(|_| {
        let hub = test_hub::Running::start(folder.path(), "");
        for batch in &batches {
            assert_eq!(hub.call("POST", "/api/sensors/temperature", None, &format!("[{batch}]")).0, 200);
        }
        until(&hub, folder.path(), "chunks", |chunks| chunks > 300);
        assert_eq!(module(&hub), 200);

        assert_eq!(hub.call("DELETE", "/api/modules/attic", Some(&admin), "").0, 204);
        hub.kill();
        let left = count(folder.path(), CHUNKS_LEFT);

        let hub = test_hub::Running::start(folder.path(), "");
        assert_eq!(module(&hub), 404, "with {left} chunks left");
        until(&hub, folder.path(), CHUNKS_LEFT, |chunks| chunks == 0);
        assert_eq!(module(&hub), 404);
        hub.stop();
        left > 0
    });

    assert!(was_half_way);
    assert_eq!(count(folder.path(), "modules WHERE id <> 'other'"), 0);
    let db = Connection::open(folder.path().join("hub.db")).unwrap();
    let sound: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}
