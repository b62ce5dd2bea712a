//! An uplink for the tests of modules, which records all requests.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::{
    client::frame_publisher::FrameReceiver,
    model::{
        camera::FrameReceipt,
        command::{Command, CommandState, LeasedCommand, StatusReceipt, StatusReport},
        command_id::CommandId,
        error::Problem,
        frame::Frame,
        gap::NewGap,
        id::{ActionName, ModuleId, UserName},
        manifest::{Health, Manifest, ModuleInfo},
        new_reading::{NewReading, Stored},
        reading::{Quantity, Reading, SeqNo},
        unit::Unit,
    },
    time::Timestamp,
    uplink::{Uplink, UplinkError},
};

/// An [`Uplink`] that records all requests, delivers commands of the test, and fails on demand. Like a hub it stores a
/// numbered reading once.
///
/// Clones share their state, so a test keeps one clone and the runner gets another.
///
/// ```
/// use std::time::Duration;
/// use iotpi_core::{measure, testing::RecordingUplink, SensorModule, Quantity, Runner};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = RecordingUplink::new("attic".parse()?);
/// let sensor = measure(Quantity::Temperature, || async { Ok(21.5) });
///
/// Runner::new(hub.clone()).once(SensorModule::new(sensor, Duration::from_secs(60))).await?;
///
/// assert_eq!(hub.readings()[0].outcome.value(), Some(21.5));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct RecordingUplink {
    module_id: ModuleId,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Recorded>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Recorded {
    manifests: Vec<Manifest>,
    readings: Vec<Reading>,
    delivered: Vec<NewReading>,
    numbers: BTreeSet<SeqNo>,
    gaps: Vec<NewGap>,
    frames: Vec<Frame>,
    reports: Vec<StatusReport>,
    commands: VecDeque<LeasedCommand>,
    failures: VecDeque<Problem>,
    handed_out: u64,
    away: bool,
    mute: bool,
    forgotten: bool,
    alive_secs: Option<f64>,
    viewers: u32,
}

impl RecordingUplink {
    /// Creates an uplink of this module to a hub that accepts everything.
    #[must_use]
    pub fn new(module_id: ModuleId) -> Self {
        Self { module_id, shared: Arc::default() }
    }

    /// Queues a command with a lifetime of a minute and returns its id.
    ///
    /// # Panics
    /// If `action` is not an id.
    #[allow(clippy::expect_used)]
    pub fn command(&self, action: &str, params: Map<String, Value>) -> CommandId {
        let mut heard = self.lock();
        heard.handed_out += 1;
        let id = CommandId::from(format!("command-{}", heard.handed_out));
        let command = Command {
            id: id.clone(),
            module_id: self.module_id.clone(),
            action: ActionName::new(action).expect("an action's name is an id"),
            params,
            state: CommandState::Leased,
            issued_by: UserName::new("test").expect("an id"),
            created_at: Timestamp::MIN,
            expires_at: Timestamp::MIN.plus(Duration::from_secs(60)),
            leased_at: Some(Timestamp::MIN),
            started_at: None,
            finished_at: None,
            attempts: 1,
            result: None,
            error: None,
            superseded_by: None,
        };
        let lease = format!("lease-{}", heard.handed_out).into();
        heard.commands.push_back(LeasedCommand {
            command,
            lease,
            lease_secs: 30.0,
            expires_in: 60.0,
            hazardous: false,
        });
        drop(heard);
        self.shared.changed.notify_waiters();
        id
    }

    /// Queues a command as it is.
    pub fn lease(&self, command: LeasedCommand) {
        self.lock().commands.push_back(command);
        self.shared.changed.notify_waiters();
    }

    /// Makes the next request fail with a problem; several calls affect several requests.
    pub fn fail_next(&self, problem: Problem) {
        self.lock().failures.push_back(problem);
    }

    /// Makes the hub unreachable, or reachable again.
    pub fn set_away(&self, away: bool) {
        self.lock().away = away;
        self.shared.changed.notify_waiters();
    }

    /// Sets the seconds for which the issuers of watched commands count as present, from each answer on;
    /// `None` at first.
    pub fn set_alive_secs(&self, secs: Option<f64>) {
        self.lock().alive_secs = secs;
    }

    /// Sets the number of viewers of the module's camera; 0 at first.
    pub fn set_viewers(&self, viewers: u32) {
        self.lock().viewers = viewers;
        self.shared.changed.notify_waiters();
    }

    /// Makes requests arrive and take effect while their answers are lost, or ends that.
    pub fn set_mute(&self, mute: bool) {
        self.lock().mute = mute;
    }

    /// Makes the hub forget the module's manifest, as after a restart with a new database.
    pub fn forget_manifest(&self) {
        self.lock().forgotten = true;
    }

    /// The manifests registered so far.
    #[must_use]
    pub fn manifests(&self) -> Vec<Manifest> {
        self.lock().manifests.clone()
    }

    /// The readings recorded so far, in order of arrival, each numbered one once. A reading without a time
    /// gets [`Timestamp::MIN`], the time of this hub's clock.
    #[must_use]
    pub fn readings(&self) -> Vec<Reading> {
        self.lock().readings.clone()
    }

    /// The same readings as they were sent.
    #[must_use]
    pub fn delivered(&self) -> Vec<NewReading> {
        self.lock().delivered.clone()
    }

    /// The gaps reported so far. A repeated report of a gap (by its epoch and first number) replaces the one
    /// before.
    #[must_use]
    pub fn gaps(&self) -> Vec<NewGap> {
        self.lock().gaps.clone()
    }

    /// The numbers that will never arrive: those in gaps without those that arrived anyway.
    #[must_use]
    pub fn lost(&self) -> BTreeSet<SeqNo> {
        let heard = self.lock();
        let numbers = |gap: &NewGap| {
            let epoch = gap.epoch;
            (gap.first_seq..=gap.last_seq).map(move |seq| SeqNo { epoch, seq })
        };
        heard.gaps.iter().flat_map(numbers).filter(|number| !heard.numbers.contains(number)).collect()
    }

    /// The frames published so far.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        self.lock().frames.clone()
    }

    /// The reports so far, including heartbeats.
    #[must_use]
    pub fn reports(&self) -> Vec<StatusReport> {
        self.lock().reports.clone()
    }

    /// Waits until the recorded requests meet a condition.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn until(&self, met: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if met(self) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear<T>(&self, take: impl FnOnce(&mut Recorded) -> T) -> Result<T, UplinkError> {
        let mut heard = self.lock();
        if heard.away {
            return Err(UplinkError::Unreachable {
                url: "test".to_owned(),
                source: "the hub is away".into(),
            });
        }
        if let Some(problem) = heard.failures.pop_front() {
            return Err(UplinkError::Problem(Box::new(problem)));
        }
        let taken = take(&mut heard);
        let mute = heard.mute;
        drop(heard);
        self.shared.changed.notify_waiters();
        if mute {
            return Err(UplinkError::Unreachable {
                url: "test".to_owned(),
                source: "the answer was lost".into(),
            });
        }
        Ok(taken)
    }
}

#[async_trait]
impl Uplink for RecordingUplink {
    fn module_id(&self) -> &ModuleId {
        &self.module_id
    }

    async fn register(&self, manifest: &Manifest) -> Result<ModuleInfo, UplinkError> {
        self.hear(|heard| {
            heard.manifests.push(manifest.clone());
            heard.forgotten = false;
        })?;
        Ok(ModuleInfo {
            id: self.module_id.clone(),
            manifest: Some(manifest.clone()),
            health: Health::Online,
            last_seen_at: Some(Timestamp::MIN),
            registered_at: Timestamp::MIN,
            state: None,
            state_at: None,
            delivery: None,
        })
    }

    async fn record(&self, readings: Vec<Reading>) -> Result<(), UplinkError> {
        self.hear(|heard| {
            heard.delivered.extend(readings.iter().cloned().map(NewReading::from));
            heard.readings.extend(readings);
        })
    }

    async fn deliver(&self, readings: Vec<NewReading>) -> Result<Stored, UplinkError> {
        self.hear(|heard| {
            let mut done = Stored { stored: 0, repeated: 0 };
            for reading in readings {
                let number = reading.epoch.zip(reading.seq).map(|(epoch, seq)| SeqNo { epoch, seq });
                if number.is_some_and(|number| !heard.numbers.insert(number)) {
                    done.repeated += 1;
                    continue;
                }
                done.stored += 1;
                heard.delivered.push(reading.clone());
                let unit = reading.unit.clone().unwrap_or(Unit::COUNT);
                let received = reading.kind.clone().map(|kind| Quantity::new(kind, unit));
                heard.readings.extend(received.and_then(|q| reading.received(q, Timestamp::MIN).ok()));
            }
            done
        })
    }

    async fn report_gap(&self, gap: NewGap) -> Result<(), UplinkError> {
        self.hear(|heard| {
            heard.gaps.retain(|known| (known.epoch, known.first_seq) != (gap.epoch, gap.first_seq));
            heard.gaps.push(gap);
        })
    }

    async fn publish(&self, frame: Frame) -> Result<FrameReceipt, UplinkError> {
        self.hear(|heard| {
            heard.frames.push(frame);
            FrameReceipt { viewers: heard.viewers, seq: heard.frames.len() as u64 }
        })
    }

    /// Like a hub, it reports a change of the number of viewers at once, even while no frame arrives.
    async fn stream_frames(&self, frames: &mut FrameReceiver) -> Result<(), UplinkError> {
        let mut viewers = None;
        loop {
            let news = self.until(|hub| {
                let heard = hub.lock();
                heard.away || viewers.is_some_and(|viewers| viewers != heard.viewers)
            });
            let frame = tokio::select! {
                frame = frames.next() => frame,
                () = news => {
                    let receipt = self.hear(|heard| FrameReceipt { viewers: heard.viewers, seq: heard.frames.len() as u64 })?;
                    viewers = Some(receipt.viewers);
                    frames.accepted(receipt);
                    continue;
                }
            };
            let Some(frame) = frame else { return Ok(()) };
            let answer = self.publish(frame).await;
            viewers = answer.as_ref().map_or(viewers, |receipt| Some(receipt.viewers));
            frames.record(answer)?;
        }
    }

    async fn claim(&self, wait: Duration) -> Result<Vec<LeasedCommand>, UplinkError> {
        let waited = tokio::time::timeout(wait, self.until(|hub| !hub.lock().commands.is_empty())).await;
        match waited {
            Ok(()) => self.hear(|heard| heard.commands.pop_front().into_iter().collect()),
            Err(_) => self.hear(|_| Vec::new()),
        }
    }

    async fn report(&self, report: StatusReport) -> Result<StatusReceipt, UplinkError> {
        let (registered, alive_secs) = self.hear(|heard| {
            let watched = report.watch.is_some();
            heard.reports.push(report);
            (!heard.forgotten, heard.alive_secs.filter(|_| watched))
        })?;
        Ok(StatusReceipt { received_at: Timestamp::MIN, command: None, registered, alive_secs })
    }
}
