//! The runner: it registers a module, sends heartbeats and readings, and shuts down in order.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    any_error::error_chain,
    client::{
        backoff::{Backoff, pause},
        frame_publisher::FrameReceiver,
    },
    model::{
        camera::FrameReceipt,
        command::{LeasedCommand, StatusReceipt, StatusReport},
        error::{ErrorKind, Problem},
        frame::Frame,
        gap::NewGap,
        id::ModuleId,
        manifest::{Manifest, ModuleInfo},
        new_reading::{NewReading, Stored},
        reading::Reading,
    },
    module::{Module, ModuleError},
    outbox::Outbox,
    outbox::{
        limits::{DEFAULT_OUTBOX_CAPACITY, OutboxError, OutboxLimits},
        sender::Sender,
    },
    signals::stop_signal,
    time::{Clock, SystemClock},
    uplink::{Uplink, UplinkError},
};

/// The time a stopping module gets: to finish, to put its devices into the safe state, and to send its queue.
const GRACE: Duration = Duration::from_millis(1500);
const LAST_SEND: Duration = Duration::from_millis(500);
/// The time a module that runs once gets to send its queue on disk.
pub(super) const ONCE_SEND: Duration = Duration::from_secs(30);

/// Runs one module on one uplink.
///
/// Readings are numbered and go through a bounded outbox. While the hub is unreachable they are kept.
/// Afterwards new readings are sent at once and the backlog beside them, oldest first. Lost readings are
/// reported to the hub as a gap. With [a directory](Self::with_outbox_dir) the outbox survives the process,
/// too. All waits have full jitter, so that many modules do not reconnect at once.
///
/// ```no_run
/// # async fn example() -> Result<(), iotpi_core::AnyError> {
/// use std::time::Duration;
/// use iotpi_core::{HubClient, Quantity, Runner, SensorModule, measure};
///
/// let module = SensorModule::new(measure(Quantity::Temperature, async || Ok(21.5)), Duration::from_secs(60));
/// let uplink = HubClient::from_env()?.uplink("attic".parse()?);
/// Runner::new(uplink).with_outbox_dir("/var/lib/attic/outbox").run(module).await?;
/// # Ok(()) }
/// ```
pub struct Runner {
    uplink: Arc<dyn Uplink>,
    clock: Arc<dyn Clock>,
    capacity: usize,
    folder: Option<PathBuf>,
    limits: OutboxLimits,
    backoff: Backoff,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("module_id", self.uplink.module_id()).finish_non_exhaustive()
    }
}

/// The reasons why a module ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The directory of its outbox cannot be used.
    #[error("the outbox cannot be opened")]
    Outbox(#[from] OutboxError),
    /// The hub refused it: wrong token, wrong id, or an invalid manifest.
    #[error("the hub refused to register module `{module_id}`")]
    Refused {
        /// The id of the module.
        module_id: ModuleId,
        /// The answer of the hub.
        source: UplinkError,
    },
    /// The module could not continue.
    #[error("the module ended")]
    Module(#[from] ModuleError),
    /// The module panicked; its devices are not in their safe state.
    #[error("the module panicked")]
    Panicked,
    /// The module did not stop in its grace period and was cut off; its devices may not be in their safe
    /// state.
    #[error("the module did not stop in time")]
    Overran,
}

impl Runner {
    /// Creates a runner on an uplink, usually [`HubClient::uplink`](crate::HubClient::uplink).
    #[must_use]
    pub fn new(uplink: impl Uplink + 'static) -> Self {
        Self {
            uplink: Arc::new(uplink),
            clock: SystemClock::shared(),
            capacity: DEFAULT_OUTBOX_CAPACITY,
            folder: None,
            limits: OutboxLimits::default(),
            backoff: Backoff::default(),
        }
    }

    /// Sets the pauses after failures; by default [`Backoff::default`]: up to 250 ms at first and 30 s at
    /// most.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets the capacity of the outbox in memory in readings, at least 2; by default
    /// [`DEFAULT_OUTBOX_CAPACITY`]. It has no effect with a directory.
    #[must_use]
    pub fn with_outbox_capacity(mut self, readings: usize) -> Self {
        self.capacity = readings;
        self
    }

    /// Sets a directory for this module alone, created if missing. It holds readings that the hub has not
    /// accepted within 5 s, and all unsent ones when the module stops. Nothing is written while the hub
    /// answers.
    ///
    /// A killed process loses the readings in memory (up to 6 s), and the next one reports them to the hub as
    /// a gap. A power cut also loses the readings not yet synced (another second) and the numbering: the next
    /// start begins a new epoch.
    #[must_use]
    pub fn with_outbox_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Sets the limits of the outbox in the directory.
    #[must_use]
    pub fn with_outbox_limits(mut self, limits: OutboxLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the clock for the times of readings.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Runs a module until a [signal](stop_signal): SIGHUP, SIGINT (Ctrl-C), SIGQUIT or SIGTERM. All of them
    /// shut it down in the same order, and further ones do not interrupt that. If a signal may arrive before
    /// this is called, call [`stop_signal`] first, open the devices inside the runtime, and use
    /// [`Self::run_until`].
    ///
    /// # Errors
    /// [`RunError`]. An unreachable hub is not an error: the runner waits for it.
    ///
    /// # Cancel safety
    /// Not cancel safe: devices are then not put into their safe state.
    pub async fn run(self, module: impl Module + 'static) -> Result<(), RunError> {
        let stop = CancellationToken::new();
        let signal = stop_signal();
        let asked = tokio::spawn({
            let stop = stop.clone();
            async move {
                signal.await;
                stop.cancel();
            }
        });
        let ended = self.run_until(module, stop).await;
        asked.abort();
        ended
    }

    /// Runs a module until `stop` is cancelled, then gives it a grace period of 1.5 s.
    ///
    /// # Errors
    /// [`RunError`].
    ///
    /// # Cancel safety
    /// Not cancel safe: devices are then not put into their safe state.
    pub async fn run_until(
        self,
        module: impl Module + 'static,
        stop: CancellationToken,
    ) -> Result<(), RunError> {
        self.run_boxed(Box::new(module), stop).await
    }

    /// Neither generic nor inlined into the caller: a future of this size in `main` would be compiled once for
    /// each kind of runtime, in every program.
    fn run_boxed(
        self,
        module: Box<dyn Module>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, Result<(), RunError>> {
        Box::pin(self.run_to_end(module, stop))
    }

    async fn run_to_end(self, module: Box<dyn Module>, stop: CancellationToken) -> Result<(), RunError> {
        let manifest = module.manifest();
        let line = Arc::new(self.open_uplink().await?);
        // The module runs from the start, even while no hub answers: its readings are kept in the outbox.
        let mut work = tokio::spawn(module.run(line.clone(), stop.child_token()));
        let tasks = TaskTracker::new();
        let end_of_sending = CancellationToken::new();
        tasks.spawn({
            let (line, end) = (line.clone(), end_of_sending.clone());
            async move { line.sender.run(&end).await }
        });
        tasks.close();

        let mut refused = None;
        let ended = tokio::select! {
            ended = &mut work => Some(ended),
            error = line.keep_registered(&manifest) => {
                refused = Some(error);
                None
            }
            () = stop.cancelled() => None,
        };
        stop.cancel();
        let ended = match ended {
            Some(ended) => Some(ended),
            None => tokio::time::timeout(GRACE, &mut work).await.ok(),
        };
        work.abort();
        // The rest is sent now, kept on disk, or lost with the process, which is logged.
        end_of_sending.cancel();
        tasks.wait().await;
        line.sender.send_rest(LAST_SEND).await;
        line.close().await;
        match (refused, ended) {
            (Some(source), _) => Err(RunError::Refused { module_id: line.module_id().clone(), source }),
            (None, Some(Ok(ended))) => Ok(ended?),
            (None, Some(Err(_))) => Err(RunError::Panicked),
            (None, None) => Err(RunError::Overran),
        }
    }

    /// Registers, runs the module once, and returns. For cron. With a directory, readings that the hub does
    /// not accept are kept for the next time; without one none are kept.
    ///
    /// # Errors
    /// [`RunError`], also if the hub cannot be reached or the device failed.
    ///
    /// # Cancel safety
    /// Not cancel safe.
    pub async fn once(self, module: impl Module) -> Result<(), RunError> {
        let manifest = module.manifest();
        let module_id = self.uplink.module_id().clone();
        let refused = |source| RunError::Refused { module_id, source };
        if self.folder.is_none() {
            self.uplink.register(&manifest).await.map_err(refused)?;
            return Ok(Box::new(module).run_once(self.uplink).await?);
        }
        let line = Arc::new(self.open_uplink().await?);
        let registered = line.register(&manifest).await;
        let done = match &registered {
            Err(error) if is_final(error) => Ok(()),
            _ => Box::new(module).run_once(line.clone()).await,
        };
        if registered.is_ok() {
            line.sender.send_all(ONCE_SEND).await;
        }
        line.close().await;
        registered.map_err(refused)?;
        Ok(done?)
    }

    /// Opens the outbox.
    pub(super) async fn open_uplink(self) -> Result<RunnerUplink, OutboxError> {
        let Self { uplink, clock, capacity, folder, limits, backoff } = self;
        let outbox = match folder {
            None => Outbox::in_memory(capacity, clock),
            Some(folder) => {
                let module_id = uplink.module_id().clone();
                let at = folder.clone();
                let opened =
                    tokio::task::spawn_blocking(move || Outbox::on_disk(&folder, &module_id, limits, clock))
                        .await;
                opened.unwrap_or_else(|error| {
                    Err(OutboxError::Io { folder: at, source: std::io::Error::other(error) })
                })?
            }
        };
        let sender = Sender::new(uplink.clone(), outbox.clone(), backoff.clone());
        Ok(RunnerUplink { sender, uplink, outbox, backoff })
    }
}

/// The module's uplink: readings go into the outbox, other requests to the hub.
pub(super) struct RunnerUplink {
    uplink: Arc<dyn Uplink>,
    outbox: Arc<Outbox>,
    pub(super) sender: Sender,
    backoff: Backoff,
}

impl RunnerUplink {
    /// Registers, then sends heartbeats, and registers again when the hub does not know the manifest any
    /// more. Returns only if the hub refuses the first registration permanently.
    async fn keep_registered(&self, manifest: &Manifest) -> UplinkError {
        let mut backoff = self.backoff.clone();
        let mut accepted_once = false;
        loop {
            match self.uplink.register(manifest).await {
                Ok(_) => {
                    tracing::info!(module = %self.module_id(), "registered");
                    self.sender.outages.registered(self.module_id());
                    accepted_once = true;
                    backoff.succeeded();
                    self.send_heartbeats(manifest.heartbeat()).await;
                }
                Err(error) if !accepted_once && is_final(&error) => return error,
                Err(error) => {
                    tracing::debug!(module = %self.module_id(), error = %error_chain(&error), "the registration failed");
                    self.sender.outages.registration_failed(self.module_id(), &error);
                    tokio::time::sleep(pause(&mut backoff, &error)).await;
                }
            }
        }
    }

    /// Sends heartbeats until the hub does not answer, or does not know the manifest.
    async fn send_heartbeats(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            match self.uplink.report(StatusReport::default()).await {
                Ok(receipt) if receipt.registered => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!(module = %self.module_id(), error = %error_chain(&error), "the heartbeat failed");
                    self.sender.outages.registration_failed(self.module_id(), &error);
                    return;
                }
            }
        }
    }

    /// Closes the outbox and logs the readings that did not reach the hub.
    async fn close(&self) {
        let (left, lost) = self.outbox.close().await;
        let module = self.module_id();
        match (left, lost) {
            (0, 0) => {}
            (left, 0) if self.outbox.is_on_disk() => {
                tracing::info!(%module, left, "readings wait on disk for the next start");
            }
            (left, lost) => tracing::warn!(%module, left, lost, "readings did not reach the hub"),
        }
    }
}

/// Whether a retry with the same token and manifest is pointless.
fn is_final(error: &UplinkError) -> bool {
    !error.is_transient() && error.kind() != ErrorKind::Conflict
}

#[async_trait]
impl Uplink for RunnerUplink {
    fn module_id(&self) -> &ModuleId {
        self.uplink.module_id()
    }

    async fn register(&self, manifest: &Manifest) -> Result<ModuleInfo, UplinkError> {
        self.uplink.register(manifest).await
    }

    async fn record(&self, readings: Vec<Reading>) -> Result<(), UplinkError> {
        if let Some(reading) = readings.iter().find(|reading| reading.module_id != *self.module_id()) {
            return Err(foreign_module(self.module_id(), &reading.module_id));
        }
        self.outbox.push(readings).await;
        Ok(())
    }

    async fn deliver(&self, readings: Vec<NewReading>) -> Result<Stored, UplinkError> {
        self.uplink.deliver(readings).await
    }

    async fn report_gap(&self, gap: NewGap) -> Result<(), UplinkError> {
        self.uplink.report_gap(gap).await
    }

    async fn publish(&self, frame: Frame) -> Result<FrameReceipt, UplinkError> {
        self.uplink.publish(frame).await
    }

    async fn stream_frames(&self, frames: &mut FrameReceiver) -> Result<(), UplinkError> {
        self.uplink.stream_frames(frames).await
    }

    async fn claim(&self, wait: Duration) -> Result<Vec<LeasedCommand>, UplinkError> {
        self.uplink.claim(wait).await
    }

    async fn report(&self, report: StatusReport) -> Result<StatusReceipt, UplinkError> {
        self.uplink.report(report).await
    }
}

/// A module numbers its own readings only; those of another module cannot be among them.
fn foreign_module(ours: &ModuleId, other: &ModuleId) -> UplinkError {
    let kind = ErrorKind::InvalidArgument;
    UplinkError::Problem(Box::new(Problem {
        type_: format!("urn:iotpi:problem:{}", kind.as_str()),
        kind,
        title: "Invalid argument".to_owned(),
        status: 400,
        detail: format!(
            "module `{ours}` recorded a reading of module `{other}`; it may only speak for itself"
        ),
        pointer: None,
        choices: None,
        retry_after_secs: None,
        request_id: None,
    }))
}
