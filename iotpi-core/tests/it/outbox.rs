//! The outbox: the live queue and the backlog, the spill on disk, clocks.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use iotpi_core::{
    Clock, Frame, Manifest, Module, ModuleError, ModuleId, Quantity, Reading, Runner, Sample, Timestamp,
    Uplink, UplinkError, async_trait,
    model::{
        camera::FrameReceipt,
        command::{LeasedCommand, StatusReceipt, StatusReport},
        error::ErrorKind,
        gap::{GapReason, NewGap},
        manifest::ModuleInfo,
        reading::{NewReading, Stored},
    },
    module::RunError,
    outbox::OutboxLimits,
    testing::RecordingUplink,
    time::ManualClock,
};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{hub, problem};

const NOW: Timestamp = Timestamp::FIRST_POSSIBLE;

/// A module that records the readings of a test.
struct FedModule {
    feed: mpsc::UnboundedReceiver<Vec<Reading>>,
}

#[async_trait]
impl Module for FedModule {
    fn manifest(&self) -> Manifest {
        Manifest::default()
    }

    async fn run(
        mut self: Box<Self>,
        up: Arc<dyn Uplink>,
        stop: CancellationToken,
    ) -> Result<(), ModuleError> {
        while let Some(Some(readings)) = stop.run_until_cancelled(self.feed.recv()).await {
            up.record(readings).await?;
        }
        stop.cancelled().await;
        // The readings of the test are recorded even if they arrived after the stop.
        while let Ok(readings) = self.feed.try_recv() {
            up.record(readings).await?;
        }
        Ok(())
    }

    async fn run_once(mut self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        while let Ok(readings) = self.feed.try_recv() {
            up.record(readings).await?;
        }
        Ok(())
    }
}

/// A running module and its feed.
struct RunningModule {
    feed: mpsc::UnboundedSender<Vec<Reading>>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl RunningModule {
    fn start(runner: Runner) -> Self {
        let (feed, readings) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let task = tokio::spawn(runner.run_until(FedModule { feed: readings }, stop.clone()));
        Self { feed, stop, task }
    }

    fn feed(&self, values: impl IntoIterator<Item = u32>) {
        self.feed_at(values, NOW);
    }

    fn feed_at(&self, values: impl IntoIterator<Item = u32>, at: Timestamp) {
        let readings = values.into_iter().map(|n| reading(n, at)).collect();
        self.feed.send(readings).unwrap();
    }

    async fn stop(self) -> Result<(), RunError> {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

fn reading(value: u32, at: Timestamp) -> Reading {
    let sample = Sample::new(Quantity::Temperature, value.into());
    Reading::new(ModuleId::new("attic").unwrap(), sample, at)
}

fn on_disk(hub: impl Uplink + 'static, folder: &Path) -> Runner {
    Runner::new(hub).with_outbox_dir(folder)
}

/// The received values, sorted.
fn values(hub: &RecordingUplink) -> Vec<u32> {
    let mut values: Vec<_> = hub.delivered().iter().map(|r| r.value.unwrap() as u32).collect();
    values.sort_unstable();
    values
}

fn all(count: u32) -> Vec<u32> {
    (0..count).collect()
}

/// The time of a response, and the values of its request.
type Answered = (Instant, Vec<u32>);

/// A hub that responds slowly.
#[derive(Clone)]
struct SlowUplink {
    hub: RecordingUplink,
    delay: Duration,
    answered: Arc<Mutex<Vec<Answered>>>,
}

#[async_trait]
impl Uplink for SlowUplink {
    fn module_id(&self) -> &ModuleId {
        self.hub.module_id()
    }

    async fn register(&self, manifest: &Manifest) -> Result<ModuleInfo, UplinkError> {
        self.hub.register(manifest).await
    }

    async fn deliver(&self, readings: Vec<NewReading>) -> Result<Stored, UplinkError> {
        tokio::time::sleep(self.delay).await;
        let values = readings.iter().map(|r| r.value.unwrap() as u32).collect();
        let stored = self.hub.deliver(readings).await?;
        self.answered.lock().unwrap().push((Instant::now(), values));
        Ok(stored)
    }

    async fn report_gap(&self, gap: NewGap) -> Result<(), UplinkError> {
        self.hub.report_gap(gap).await
    }

    async fn publish(&self, frame: Frame) -> Result<FrameReceipt, UplinkError> {
        self.hub.publish(frame).await
    }

    async fn claim(&self, wait: Duration) -> Result<Vec<LeasedCommand>, UplinkError> {
        self.hub.claim(wait).await
    }

    async fn report(&self, report: StatusReport) -> Result<StatusReceipt, UplinkError> {
        self.hub.report(report).await
    }
}

/// A folder with the spilled readings 0 to `count - 1`.
async fn folder_with(count: u32) -> TempDir {
    let folder = TempDir::new().unwrap();
    let unreachable = hub();
    unreachable.set_away(true);
    let running = RunningModule::start(on_disk(unreachable, folder.path()));
    for n in (0..count).step_by(100) {
        running.feed(n..count.min(n + 100));
    }
    running.stop().await.unwrap();
    folder
}

#[tokio::test(start_paused = true)]
async fn new_readings_are_not_delayed_by_a_backlog_that_is_sent_oldest_first() {
    let folder = folder_with(20_000).await;
    let slow = SlowUplink { hub: hub(), delay: Duration::from_secs(1), answered: Arc::default() };

    let running = RunningModule::start(on_disk(slow.clone(), folder.path()));
    let mut fed_at = Vec::new();
    for n in 20_000..20_030 {
        fed_at.push(Instant::now());
        running.feed([n]);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    slow.hub.until(|hub| hub.readings().len() == 20_030).await;
    running.stop().await.unwrap();

    let answered = slow.answered.lock().unwrap().clone();
    let mut oldest_first: Vec<u32> = Vec::new();
    for (at, values) in &answered {
        match values.iter().find_map(|value| value.checked_sub(20_000)) {
            // The second of its own request and of the previous one.
            Some(n) => assert!(*at - fed_at[n as usize] <= Duration::from_millis(2_100), "{n}"),
            None => oldest_first.extend(values),
        }
    }
    assert_eq!(oldest_first, all(20_000));
    assert!(slow.hub.gaps().is_empty());
}

#[tokio::test(start_paused = true)]
async fn readings_on_disk_arrive_after_the_next_start() {
    let folder = folder_with(1234).await;
    let hub = hub();

    let running = RunningModule::start(on_disk(hub.clone(), folder.path()));
    running.feed([1234]);
    hub.until(|hub| hub.readings().len() == 1235).await;
    running.stop().await.unwrap();

    assert_eq!(values(&hub), all(1235));
    let numbers: BTreeSet<_> = hub.delivered().iter().map(|r| (r.epoch.unwrap(), r.seq.unwrap())).collect();
    let epoch = numbers.first().unwrap().0;
    assert_eq!(numbers, (1..=1235).map(|seq| (epoch, seq)).collect());
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_repeats_the_request_and_loses_no_reading() {
    for folder in [None, Some(TempDir::new().unwrap())] {
        let hub = hub();
        hub.set_mute(true);
        let runner = Runner::new(hub.clone());
        let runner = match &folder {
            Some(folder) => runner.with_outbox_dir(folder.path()),
            None => runner,
        };

        let running = RunningModule::start(runner);
        running.feed(0..700);
        hub.until(|hub| !hub.readings().is_empty()).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        hub.set_mute(false);
        running.feed([700]);
        hub.until(|hub| hub.readings().len() == 701).await;
        running.stop().await.unwrap();

        assert_eq!(values(&hub), all(701));
        assert!(hub.gaps().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn every_reading_lost_in_a_long_outage_is_in_the_gap() {
    let folder = TempDir::new().unwrap();
    let hub = hub();
    hub.set_away(true);
    let limits = OutboxLimits::default().with_readings(1600);

    let running = RunningModule::start(on_disk(hub.clone(), folder.path()).with_outbox_limits(limits));
    for n in 0..500 {
        running.feed(n * 10..n * 10 + 10);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    hub.set_away(false);
    hub.until(|hub| hub.readings().len() + hub.lost().len() == 5000).await;
    running.stop().await.unwrap();

    let received: BTreeSet<_> = hub.delivered().iter().filter_map(|r| r.seq).collect();
    let lost: BTreeSet<_> = hub.lost().iter().map(|number| number.seq).collect();
    assert_eq!(received.union(&lost).copied().collect::<BTreeSet<_>>(), (1..=5000).collect());
    let [gap] = &hub.gaps()[..] else { panic!("{:?}", hub.gaps()) };
    assert_eq!((gap.first_seq, gap.reason), (1, GapReason::Full));
    assert!((3400..3700).contains(&gap.lost()), "{}", gap.lost());
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_respected() {
    let hub = hub();
    let running = RunningModule::start(Runner::new(hub.clone()));
    hub.until(|hub| hub.manifests().len() == 1).await;
    let mut busy = problem(ErrorKind::Unavailable);
    busy.retry_after_secs = Some(100.0);
    hub.fail_next(busy);

    let started = Instant::now();
    running.feed([0]);
    hub.until(|hub| !hub.readings().is_empty()).await;
    let after = started.elapsed().as_secs_f64();
    running.stop().await.unwrap();

    assert!((100.0..100.5).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_limited_backlog_arrives_completely() {
    let folder = TempDir::new().unwrap();
    let hub = hub();
    hub.set_away(true);
    let running = RunningModule::start(on_disk(hub.clone(), folder.path()));
    running.feed(0..5000);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut rate_limited = problem(ErrorKind::RateLimited);
    rate_limited.retry_after_secs = Some(30.0);

    for _ in 0..20 {
        hub.fail_next(rate_limited.clone());
    }
    hub.set_away(false);
    running.feed(5000..5010);
    hub.until(|hub| hub.readings().len() == 5010).await;
    running.stop().await.unwrap();

    assert_eq!(values(&hub), all(5010));
    assert!(hub.gaps().is_empty());
}

#[tokio::test(start_paused = true)]
async fn once_keeps_unsent_readings_in_its_folder() {
    let folder = TempDir::new().unwrap();
    let hub = hub();
    let once = |values: std::ops::Range<u32>| {
        let (feed, readings) = mpsc::unbounded_channel();
        feed.send(values.map(|n| reading(n, NOW)).collect()).unwrap();
        on_disk(hub.clone(), folder.path()).once(FedModule { feed: readings })
    };

    hub.set_away(true);
    let failed = once(0..3).await;
    hub.set_away(false);
    once(3..5).await.unwrap();

    assert!(matches!(failed, Err(RunError::Refused { .. })), "{failed:?}");
    assert_eq!(values(&hub), all(5));
}

#[tokio::test(start_paused = true)]
async fn a_module_cannot_record_readings_of_another() {
    let running = RunningModule::start(Runner::new(hub()));
    let cellar = Reading::new(ModuleId::new("cellar").unwrap(), Sample::new(Quantity::Motion, 1.0), NOW);

    running.feed.send(vec![cellar]).unwrap();
    let result = running.task.await.unwrap();

    let Err(RunError::Module(ModuleError::Uplink(error))) = result else { panic!("{result:?}") };
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn two_runners_cannot_use_one_folder() {
    let folder = TempDir::new().unwrap();
    let hub = hub();
    let first = RunningModule::start(on_disk(hub.clone(), folder.path()));
    hub.until(|hub| hub.manifests().len() == 1).await;

    let second = RunningModule::start(on_disk(hub.clone(), folder.path())).task.await.unwrap();
    first.stop().await.unwrap();

    assert!(matches!(second, Err(RunError::Outbox(_))), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_module_whose_clock_is_not_set_sends_ages() {
    let hub = hub();
    hub.set_away(true);
    let clock = ManualClock::at(Timestamp::from_micros(0));
    let running = RunningModule::start(Runner::new(hub.clone()).with_clock(clock.clone()));

    clock.advance(Duration::from_secs(5));
    running.feed_at([0], clock.now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    clock.advance(Duration::from_secs(10));
    clock.step_to(NOW);
    running.feed_at([1], clock.now());
    tokio::time::sleep(Duration::from_secs(1)).await;
    hub.set_away(false);
    hub.until(|hub| hub.readings().len() == 2).await;
    running.stop().await.unwrap();

    let mut sent = hub.delivered();
    sent.sort_by_key(|reading| reading.seq);
    let times: Vec<_> = sent.iter().map(|reading| (reading.timestamp, reading.age)).collect();
    assert_eq!(times, [(None, Some(10.0)), (Some(NOW), None)]);
}

#[tokio::test(start_paused = true)]
async fn jumps_of_the_wall_clock_lose_no_reading_and_keep_the_order() {
    const TEN_YEARS: Duration = Duration::from_secs(10 * 366 * 86_400);
    let folder = TempDir::new().unwrap();
    let hub = hub();
    hub.set_away(true);
    let clock = ManualClock::at(NOW);
    let running = RunningModule::start(on_disk(hub.clone(), folder.path()).with_clock(clock.clone()));

    for (n, wall) in (0..).zip([NOW, NOW.plus(TEN_YEARS), NOW.minus(TEN_YEARS), Timestamp::END, NOW]) {
        clock.step_to(wall);
        running.feed_at([n], wall);
        tokio::time::sleep(Duration::from_secs(7)).await;
        clock.advance(Duration::from_secs(7));
    }
    hub.set_away(false);
    hub.until(|hub| hub.readings().len() == 5).await;
    running.stop().await.unwrap();

    let mut sent = hub.delivered();
    sent.sort_by_key(|reading| reading.seq);
    assert_eq!(sent.iter().map(|r| r.value.unwrap() as u32).collect::<Vec<_>>(), all(5));
    // A reading with an impossible time is sent with its age.
    let stamped: Vec<_> = sent.iter().map(|reading| reading.timestamp).collect();
    assert_eq!(stamped, [Some(NOW), Some(NOW.plus(TEN_YEARS)), None, None, Some(NOW)]);
    assert!(sent[2].age.is_some() && sent[3].age.is_some());
    assert!(hub.gaps().is_empty());
}
