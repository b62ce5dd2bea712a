//! What keeps a module going: it registers, lets the hub know it is there, sends what waits, and stops in order.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Backoff, Batch, DEFAULT_OUTBOX_CAPACITY, ErrorKind, Frame, FrameReceipt, LeasedCommand, Manifest, Module,
    ModuleError, ModuleId, ModuleInfo, Outbox, Reading, StatusReceipt, StatusReport, Uplink, UplinkError,
};

/// How many readings are sent in one request.
const BATCH: usize = 500;
/// How long a module that was told to stop may take: to finish, to make its devices safe, and to send what waits.
const GRACE: Duration = Duration::from_millis(1500);
const LAST_SEND: Duration = Duration::from_millis(500);

/// Runs one module on one uplink.
///
/// Readings go through a bounded outbox: while the hub is away they wait, and when it is back they go out, oldest
/// first. All waits have full jitter, so that many modules do not come back at once.
pub struct Runner {
    uplink: Arc<dyn Uplink>,
    outbox: Outbox,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("module_id", self.uplink.module_id()).finish_non_exhaustive()
    }
}

/// Why a module ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The hub will not have it: wrong token, wrong id, a manifest it cannot read.
    #[error("the hub refused to register the module")]
    Refused(#[source] UplinkError),
    /// The module could not go on.
    #[error("the module ended")]
    Module(#[from] ModuleError),
    /// The module panicked; its devices were not made safe.
    #[error("the module panicked")]
    Panicked,
    /// The module did not stop in its grace time and was cut off; its devices may not be safe.
    #[error("the module did not stop in time")]
    Overran,
}

impl Runner {
    /// A runner on an uplink, usually [`HubClient::uplink`](crate::HubClient::uplink).
    #[must_use]
    pub fn new(uplink: impl Uplink + 'static) -> Self {
        Self { uplink: Arc::new(uplink), outbox: Outbox::new(DEFAULT_OUTBOX_CAPACITY) }
    }

    /// The same with room for so many waiting readings.
    #[must_use]
    pub fn with_outbox_capacity(mut self, readings: usize) -> Self {
        self.outbox = Outbox::new(readings);
        self
    }

    /// Runs a module until Ctrl-C or SIGTERM.
    ///
    /// # Errors
    /// [`RunError`]. A hub that cannot be reached is waited for.
    ///
    /// # Cancel safety
    /// Not cancel safe: devices are then not made safe.
    pub async fn run(self, module: impl Module + 'static) -> Result<(), RunError> {
        let stop = CancellationToken::new();
        let asked = tokio::spawn({
            let stop = stop.clone();
            async move {
                stop_signal().await;
                stop.cancel();
            }
        });
        let ended = self.run_until(module, stop).await;
        asked.abort();
        ended
    }

    /// Runs a module until `stop` is cancelled, then gives it its grace of 1.5 s.
    ///
    /// # Errors
    /// [`RunError`].
    ///
    /// # Cancel safety
    /// Not cancel safe: devices are then not made safe.
    pub async fn run_until(
        self,
        module: impl Module + 'static,
        stop: CancellationToken,
    ) -> Result<(), RunError> {
        let module = Box::new(module);
        let manifest = module.manifest();
        let line = Arc::new(Line { uplink: self.uplink, outbox: self.outbox });
        // The module runs from the start, also while no hub answers: its readings wait in the outbox.
        let mut work = tokio::spawn(module.run(line.clone(), stop.child_token()));
        let tasks = TaskTracker::new();
        let sending = CancellationToken::new();
        tasks.spawn({
            let (line, sending) = (line.clone(), sending.clone());
            async move { sending.run_until_cancelled(line.send_waiting()).await }
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
        // What is left goes out now, or is lost with the process; the loss is said.
        sending.cancel();
        tasks.wait().await;
        let _ = tokio::time::timeout(LAST_SEND, line.send_rest()).await;
        let (left, lost) = (line.outbox.len(), line.outbox.lost());
        if left + usize::try_from(lost).unwrap_or(usize::MAX) > 0 {
            tracing::warn!(module = %line.module_id(), left, lost, "readings did not reach the hub");
        }
        match (refused, ended) {
            (Some(error), _) => Err(RunError::Refused(error)),
            (None, Some(Ok(ended))) => Ok(ended?),
            (None, Some(Err(_))) => Err(RunError::Panicked),
            (None, None) => Err(RunError::Overran),
        }
    }

    /// Registers, does the module's work once, and returns: for cron. Nothing waits for a hub that is away.
    ///
    /// # Errors
    /// [`RunError`], also when the hub cannot be reached or the device failed.
    ///
    /// # Cancel safety
    /// Not cancel safe.
    pub async fn once(self, module: impl Module) -> Result<(), RunError> {
        self.uplink.register(&module.manifest()).await.map_err(RunError::Refused)?;
        Box::new(module).run_once(self.uplink).await?;
        Ok(())
    }
}

/// Returns on SIGINT (Ctrl-C) or SIGTERM: for programs that call [`Runner::run_until`].
///
/// # Cancel safety
/// Cancel safe. From the first poll on, a signal no longer ends the process by itself.
pub async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// The module's uplink: readings go into the outbox, all else straight through.
struct Line {
    uplink: Arc<dyn Uplink>,
    outbox: Outbox,
}

impl Line {
    /// Registers, then says "I am here" every heartbeat; registers again when the hub does not know the manifest any
    /// more. Returns only when the hub refuses the first registration for good.
    async fn keep_registered(&self, manifest: &Manifest) -> UplinkError {
        let mut backoff = Backoff::default();
        let mut accepted_once = false;
        loop {
            match self.uplink.register(manifest).await {
                Ok(_) => {
                    tracing::info!(module = %self.module_id(), "registered");
                    accepted_once = true;
                    backoff.succeeded();
                    self.beat(manifest.heartbeat()).await;
                }
                Err(error) if !accepted_once && is_final(error.kind()) => return error,
                Err(error) => {
                    tracing::warn!(module = %self.module_id(), error = %with_source(&error), "not registered");
                    tokio::time::sleep(backoff.failed()).await;
                }
            }
        }
    }

    /// Says "I am here" until the hub does not answer, or does not know the manifest.
    async fn beat(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            match self.uplink.report(StatusReport::default()).await {
                Ok(receipt) if receipt.registered => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(module = %self.module_id(), error = %with_source(&error), "the hub was not told");
                    return;
                }
            }
        }
    }

    /// Sends what waits, oldest first, for ever.
    async fn send_waiting(&self) {
        let mut backoff = Backoff::default();
        let mut size = BATCH;
        loop {
            let batch = self.outbox.oldest(size).await;
            match self.send(batch, &mut size).await {
                Ok(()) => backoff.succeeded(),
                Err(error) => {
                    tracing::warn!(module = %self.module_id(), error = %with_source(&error), waiting = self.outbox.len(), "readings wait");
                    tokio::time::sleep(backoff.failed()).await;
                }
            }
        }
    }

    /// Sends what waits, oldest first, until nothing waits or the hub does not answer.
    async fn send_rest(&self) {
        let mut size = BATCH;
        while let Some(batch) = self.outbox.try_oldest(size) {
            if self.send(batch, &mut size).await.is_err() {
                return;
            }
        }
    }

    /// Sends one batch. A batch the hub refuses is halved until the one reading at fault is alone; that one is let go.
    async fn send(&self, batch: Batch, size: &mut usize) -> Result<(), UplinkError> {
        match self.uplink.record(batch.readings.clone()).await {
            Ok(()) => {
                self.outbox.confirm(&batch);
                *size = (*size * 2).min(BATCH);
                Ok(())
            }
            Err(error) if is_unacceptable(error.kind()) && batch.readings.len() > 1 => {
                *size = batch.readings.len() / 2;
                Ok(())
            }
            Err(error) if is_unacceptable(error.kind()) => {
                tracing::error!(module = %self.module_id(), %error, reading = ?batch.readings, "the hub will not take a reading");
                self.outbox.discard(&batch);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether asking again, with the same token and manifest, is in vain.
fn is_final(kind: ErrorKind) -> bool {
    !kind.is_transient() && kind != ErrorKind::Conflict
}

/// Whether the hub will never take what was sent.
fn is_unacceptable(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidArgument | ErrorKind::Unprocessable | ErrorKind::TooLarge)
}

fn with_source(error: &UplinkError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[async_trait]
impl Uplink for Line {
    fn module_id(&self) -> &ModuleId {
        self.uplink.module_id()
    }

    async fn register(&self, manifest: &Manifest) -> Result<ModuleInfo, UplinkError> {
        self.uplink.register(manifest).await
    }

    async fn record(&self, readings: Vec<Reading>) -> Result<(), UplinkError> {
        self.outbox.push(readings);
        Ok(())
    }

    async fn show(&self, frame: Frame) -> Result<FrameReceipt, UplinkError> {
        self.uplink.show(frame).await
    }

    async fn claim(&self, wait: Duration) -> Result<Vec<LeasedCommand>, UplinkError> {
        self.uplink.claim(wait).await
    }

    async fn report(&self, report: StatusReport) -> Result<StatusReceipt, UplinkError> {
        self.uplink.report(report).await
    }
}
