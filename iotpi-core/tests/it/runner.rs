use std::{collections::BTreeSet, sync::Arc, time::Duration};

use iotpi_core::{
    CompositeModule, Frame, Manifest, Module, ModuleError, ModuleId, Quantity, Runner, SensorModule, Uplink,
    UplinkError, async_trait, measure,
    model::{
        camera::FrameReceipt,
        command::{LeasedCommand, StatusReceipt, StatusReport},
        error::ErrorKind,
        gap::{GapReason, NewGap},
        manifest::ModuleInfo,
        reading::{NewReading, Stored},
    },
    module::RunError,
    testing::RecordingUplink,
};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{hub, problem};

/// A sensor that counts up once a second.
fn counting_module() -> impl Module {
    let mut count = 0;
    let sensor = measure(Quantity::Temperature, move || {
        count += 1;
        let value = f64::from(count);
        async move { Ok(value) }
    });
    SensorModule::new(sensor, Duration::from_secs(1))
}

fn start(
    hub: &RecordingUplink,
    module: impl Module + 'static,
) -> (JoinHandle<Result<(), RunError>>, CancellationToken) {
    let stop = CancellationToken::new();
    (tokio::spawn(Runner::new(hub.clone()).run_until(module, stop.clone())), stop)
}

fn values(hub: &RecordingUplink) -> Vec<f64> {
    hub.readings().iter().filter_map(|r| r.outcome.value()).collect()
}

#[tokio::test(start_paused = true)]
async fn readings_of_an_outage_are_queued_and_all_arrive_with_their_numbers() {
    let hub = hub();
    hub.set_away(true);
    let (running, stop) = start(&hub, counting_module());

    tokio::time::advance(Duration::from_secs(0)).await;
    let outage =
        tokio::time::timeout(Duration::from_secs(20), hub.until(|hub| !hub.readings().is_empty())).await;
    assert!(outage.is_err(), "a reading arrived during the outage");
    hub.set_away(false);
    hub.until(|hub| hub.readings().len() >= 20).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    let mut delivered = hub.delivered();
    delivered.sort_by_key(|reading| reading.seq);
    let numbers: Vec<_> = delivered.iter().filter_map(|reading| reading.seq).collect();
    let values: Vec<_> = delivered.iter().filter_map(|reading| reading.value).collect();
    assert_eq!(numbers, (1..).take(delivered.len()).collect::<Vec<_>>());
    assert_eq!(values, (1u32..).take(delivered.len()).map(f64::from).collect::<Vec<_>>());
    assert!(delivered.iter().all(|reading| reading.epoch == delivered[0].epoch));
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_keeps_the_newest_readings() {
    let hub = hub();
    hub.set_away(true);
    let stop = CancellationToken::new();
    let runner = Runner::new(hub.clone()).with_outbox_capacity(5);
    let running = tokio::spawn(runner.run_until(counting_module(), stop.clone()));

    let outage =
        tokio::time::timeout(Duration::from_millis(20_500), hub.until(|hub| !hub.readings().is_empty()))
            .await;
    assert!(outage.is_err());
    hub.set_away(false);
    hub.until(|hub| !hub.readings().is_empty()).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    assert!(values(&hub)[0] > 15.0, "{:?}", values(&hub));
    // Every number arrived or is in a gap.
    let received: BTreeSet<_> = hub.delivered().iter().filter_map(|reading| reading.seq).collect();
    let lost: BTreeSet<_> = hub.lost().into_iter().map(|number| number.seq).collect();
    let all = (1..).take(received.len() + lost.len()).collect();
    assert_eq!(received.union(&lost).copied().collect::<BTreeSet<u64>>(), all);
    assert!(
        lost.len() > 10 && hub.gaps().iter().all(|gap| gap.reason == GapReason::Full),
        "{:?}",
        hub.gaps()
    );
}

/// A hub that refuses every batch with the value 3.
struct RefusingUplink(RecordingUplink);

#[async_trait]
impl Uplink for RefusingUplink {
    fn module_id(&self) -> &ModuleId {
        self.0.module_id()
    }

    async fn register(&self, manifest: &Manifest) -> Result<ModuleInfo, UplinkError> {
        self.0.register(manifest).await
    }

    async fn deliver(&self, readings: Vec<NewReading>) -> Result<Stored, UplinkError> {
        if readings.iter().any(|r| r.value == Some(3.0)) {
            return Err(UplinkError::Problem(Box::new(problem(ErrorKind::Unprocessable))));
        }
        self.0.deliver(readings).await
    }

    async fn report_gap(&self, gap: NewGap) -> Result<(), UplinkError> {
        self.0.report_gap(gap).await
    }

    async fn publish(&self, frame: Frame) -> Result<FrameReceipt, UplinkError> {
        self.0.publish(frame).await
    }

    async fn claim(&self, wait: Duration) -> Result<Vec<LeasedCommand>, UplinkError> {
        self.0.claim(wait).await
    }

    async fn report(&self, report: StatusReport) -> Result<StatusReceipt, UplinkError> {
        self.0.report(report).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_reading_does_not_block_the_others() {
    let (hub, stop) = (hub(), CancellationToken::new());
    let sensor = measure(Quantity::Temperature, {
        let mut count = 0;
        move || {
            count += 1;
            let value = f64::from(count);
            async move { Ok(value) }
        }
    });
    let burst = SensorModule::new(sensor, Duration::from_millis(1));

    let running = tokio::spawn(Runner::new(RefusingUplink(hub.clone())).run_until(burst, stop.clone()));
    hub.until(|hub| hub.readings().len() > 8).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    let values = values(&hub);
    assert_eq!(values[..8], [1.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    let gaps: Vec<_> = hub.gaps().iter().map(|gap| (gap.first_seq, gap.last_seq, gap.reason)).collect();
    assert_eq!(gaps, [(3, 3, GapReason::Refused)]);
}

#[tokio::test(start_paused = true)]
async fn a_module_that_the_hub_refuses_ends_with_the_error() {
    let hub = hub();
    hub.fail_next(problem(ErrorKind::PermissionDenied));

    let (running, _stop) = start(&hub, counting_module());

    let Err(RunError::Refused { source: error, .. }) = running.await.unwrap() else {
        panic!("the module continues")
    };
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[tokio::test(start_paused = true)]
async fn a_module_waits_for_a_hub_that_is_not_ready() {
    let hub = hub();
    hub.fail_next(problem(ErrorKind::Unavailable));
    hub.fail_next(problem(ErrorKind::Internal));

    let (running, stop) = start(&hub, counting_module());
    hub.until(|hub| hub.manifests().len() == 1).await;
    stop.cancel();

    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_module_sends_heartbeats() {
    let hub = hub();
    let started = Instant::now();
    let (running, stop) = start(&hub, counting_module());

    hub.until(|hub| hub.reports().len() == 3).await;
    let after = started.elapsed();
    stop.cancel();
    running.await.unwrap().unwrap();

    assert_eq!(after.as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_module_registers_again_at_a_hub_that_lost_its_manifest() {
    let hub = hub();
    let (running, stop) = start(&hub, counting_module());
    hub.until(|hub| hub.manifests().len() == 1).await;

    hub.forget_manifest();
    hub.until(|hub| hub.manifests().len() == 2).await;
    stop.cancel();

    running.await.unwrap().unwrap();
}

/// A module that ignores `stop`.
struct HangingModule;

#[async_trait]
impl Module for HangingModule {
    fn manifest(&self) -> Manifest {
        Manifest::default()
    }

    async fn run(self: Box<Self>, _up: Arc<dyn Uplink>, _stop: CancellationToken) -> Result<(), ModuleError> {
        std::future::pending().await
    }

    async fn run_once(self: Box<Self>, _up: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_module_that_ignores_stop_is_aborted_with_an_error() {
    let hub = hub();
    let (running, stop) = start(&hub, HangingModule);
    hub.until(|hub| hub.manifests().len() == 1).await;

    let stopped_at = Instant::now();
    stop.cancel();
    let result = running.await.unwrap();

    assert!(matches!(result, Err(RunError::Overran)), "{result:?}");
    // In the paused time of tokio.
    assert!(stopped_at.elapsed() < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn the_parts_of_a_composite_module_share_one_manifest_and_stop_together() {
    let hub = hub();
    let pressure = measure(Quantity::Pressure, || async { Ok(101_325.0) });
    let module = CompositeModule::new()
        .with(counting_module())
        .with(SensorModule::new(pressure, Duration::from_secs(1)));

    let (running, stop) = start(&hub, module);
    hub.until(|hub| hub.readings().len() > 4).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    let measures: Vec<_> = hub.manifests()[0].measures.iter().map(|m| m.kind.to_string()).collect();
    assert_eq!(measures, ["temperature", "pressure"]);
}
