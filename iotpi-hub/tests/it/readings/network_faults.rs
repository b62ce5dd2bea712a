//! A module with its runner, a real hub, and a faulty network between them: each reading is stored once or
//! reported as a gap.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use iotpi_core::{
    HubClient, Manifest, Module, ModuleError, ModuleId, Quantity, Reading, ReadingFilter, Runner, Sample,
    Timestamp, Uplink, async_trait, client::Backoff, module::RunError, outbox::OutboxLimits,
};
use iotpi_hub::{Config, auth::Role, testing::TestHub};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::support::{
    api::id,
    faulty_network::{Fault, Proxy},
    seeded_random::{PrintSeedOnPanic, SeededRandom, seeds, torture},
    wait::until,
};

/// A module that records the readings of a test.
struct FedModule(mpsc::UnboundedReceiver<Vec<Reading>>);

#[async_trait]
impl Module for FedModule {
    fn manifest(&self) -> Manifest {
        Manifest::new().with_heartbeat(Duration::from_secs(1))
    }

    async fn run(
        mut self: Box<Self>,
        up: Arc<dyn Uplink>,
        stop: CancellationToken,
    ) -> Result<(), ModuleError> {
        while let Some(Some(readings)) = stop.run_until_cancelled(self.0.recv()).await {
            up.record(readings).await?;
        }
        while let Ok(readings) = self.0.try_recv() {
            up.record(readings).await?;
        }
        Ok(())
    }

    async fn run_once(self: Box<Self>, _: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        Ok(())
    }
}

/// A running module whose n-th reading has the value n.
struct CountingModule {
    module_id: ModuleId,
    feed: mpsc::UnboundedSender<Vec<Reading>>,
    next: u32,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
}

impl CountingModule {
    fn start(url: &str, token: String, outbox: &Path, limits: OutboxLimits, next: u32) -> Self {
        let module_id = id("attic");
        let client = HubClient::new(url).unwrap().with_token(token).with_deadline(Duration::from_millis(500));
        let runner = Runner::new(client.uplink(module_id.clone()))
            .with_outbox_dir(outbox)
            .with_outbox_limits(limits)
            .with_backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(100)));
        let (feed, readings) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let running = tokio::spawn(runner.run_until(FedModule(readings), stop.clone()));
        Self { module_id, feed, next, stop, running }
    }

    fn count(&mut self, readings: u32) {
        let begin = Timestamp::FIRST_POSSIBLE;
        let reading = |n: u32| {
            let sample = Sample::new(Quantity::Temperature, n.into());
            Reading::new(self.module_id.clone(), sample, begin.plus(Duration::from_secs(n.into())))
        };
        self.feed.send((self.next..self.next + readings).map(reading).collect()).unwrap();
        self.next += readings;
    }

    async fn stop(self) -> u32 {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        self.next
    }
}

/// How often each value was stored.
async fn stored(hub: &TestHub) -> BTreeMap<u32, u32> {
    let client = HubClient::new(&hub.url()).unwrap().with_token(hub.token(Role::Viewer).await.unwrap());
    let mut filter = ReadingFilter::of(id("attic")).limit(1000);
    let mut times = BTreeMap::new();
    loop {
        let page = client.readings(&"temperature".parse().unwrap(), &filter).await.unwrap();
        for reading in page.items {
            *times.entry(reading.outcome.value().unwrap() as u32).or_default() += 1;
        }
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            return times;
        }
    }
}

/// The number of random cases.
fn rounds(few: usize, many: usize) -> usize {
    if torture() { many } else { few }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reading_is_stored_once_despite_every_network_fault() {
    let seed = seeds(1, 1).next().unwrap();
    let _print_seed = PrintSeedOnPanic { test: "network_faults", seed };
    let mut random = SeededRandom::new(seed);
    let outbox = TempDir::new().unwrap();
    let hub = TestHub::start().await.unwrap();
    let token = hub.module_token(&id("attic")).await.unwrap();
    let proxy = Proxy::to(hub.address()).await;
    let mut module = CountingModule::start(&proxy.url(), token, outbox.path(), OutboxLimits::default(), 0);

    for round in 0..rounds(24, 600) {
        // A small run contains every fault too.
        let fault = Fault::ALL[round % Fault::ALL.len()];
        let after = usize::try_from(random.below(3000)).unwrap();
        proxy.set(fault, after);
        for _ in 0..=random.below(4) {
            module.count(u32::try_from(1 + random.below(200)).unwrap());
        }
        until("a request has the fault", async || proxy.met() > 0).await;
        if random.below(2) == 0 {
            proxy.set(Fault::None, 0);
            module.count(1);
        }
    }
    proxy.set(Fault::None, 0);
    let count = module.next;
    until("all readings are stored", async || stored(&hub).await.len() == count as usize).await;
    module.stop().await;

    let more_than_once: Vec<_> = stored(&hub).await.into_iter().filter(|(_, times)| *times > 1).collect();
    assert_eq!(more_than_once, [], "stored more than once");
    hub.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reading_is_stored_once_despite_restarts_and_network_faults() {
    let seed = seeds(1, 1).next().unwrap();
    let _print_seed = PrintSeedOnPanic { test: "network_faults", seed };
    let mut random = SeededRandom::new(seed);
    let (outbox, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = format!("sqlite://{}", data.path().join("hub.db").display());
    let mut hub = TestHub::with_store(Config::default(), &store).await.unwrap();
    let token = hub.module_token(&id("attic")).await.unwrap();
    let proxy = Proxy::to(hub.address()).await;
    let start = |next| {
        CountingModule::start(&proxy.url(), token.clone(), outbox.path(), OutboxLimits::default(), next)
    };
    let mut module = start(0);

    for round in 0..rounds(6, 60) {
        let fault = Fault::ALL[usize::try_from(random.below(6)).unwrap()];
        proxy.set(fault, usize::try_from(random.below(3000)).unwrap());
        module.count(u32::try_from(1 + random.below(1500)).unwrap());
        if round % 2 == 0 {
            hub.stop().await.unwrap();
            module.count(100);
            hub = TestHub::with_store(Config::default(), &store).await.unwrap();
            proxy.move_to(hub.address());
        } else {
            // The module stops cleanly and leaves unsent readings on disk.
            let next = module.stop().await;
            module = start(next);
        }
        proxy.set(Fault::None, 0);
        module.count(1);
    }
    let count = module.next;
    until("all readings are stored", async || stored(&hub).await.len() == count as usize).await;
    module.stop().await;

    let more_than_once: Vec<_> = stored(&hub).await.into_iter().filter(|(_, times)| *times > 1).collect();
    assert_eq!(more_than_once, [], "stored more than once");
    hub.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_dropped_by_a_full_outbox_are_reported_as_a_gap() {
    let outbox = TempDir::new().unwrap();
    let hub = TestHub::start().await.unwrap();
    let token = hub.module_token(&id("attic")).await.unwrap();
    let proxy = Proxy::to(hub.address()).await;
    let limits = OutboxLimits::default().with_readings(1600);
    let mut module = CountingModule::start(&proxy.url(), token, outbox.path(), limits, 0);
    module.count(10);
    until("the first readings are stored", async || stored(&hub).await.len() == 10).await;

    proxy.set(Fault::Reset, 0);
    for _ in 0..10 {
        module.count(500);
    }
    until("several requests fail", async || proxy.met() > 3).await;
    proxy.set(Fault::None, 0);
    module.count(1);
    let client = HubClient::new(&hub.url()).unwrap().with_token(hub.token(Role::Viewer).await.unwrap());
    let account = async || client.delivery(&id("attic")).await.ok().and_then(|account| account.total);
    until("every reading is in the delivery account", async || {
        account().await.is_some_and(|total| total.received + total.lost == 5011)
    })
    .await;
    module.stop().await;

    let total = account().await.unwrap();
    assert_eq!((total.expected, total.missing), (5011, 0), "{total:?}");
    assert_eq!(total.received, stored(&hub).await.len() as u64);
    // The number depends on how many readings waited for the outbox when the network recovered.
    assert!(total.lost > 0, "{total:?}");
    hub.stop().await.unwrap();
}
