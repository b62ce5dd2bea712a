//! Numbered delivery for programs without a module loop.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    model::reading::{Reading, Sample},
    module::runner::{ONCE_SEND, Runner},
    outbox::{Outbox, limits::OutboxError, sender::Sender},
    time::Timestamp,
};

/// Records samples as they occur: for a program whose events set the pace, such as an interrupt, a message of
/// another system, or a file that is imported.
///
/// A sample is numbered and queued when [`record`](Self::record) returns; tasks in the background deliver it, as
/// for a [`Runner`], whose settings apply. There are no manifest and no heartbeat, so the token of an operator is
/// sufficient.
///
/// ```no_run
/// # async fn example() -> Result<(), iotpi_core::AnyError> {
/// use iotpi_core::{HubClient, Quantity, Runner, Sample};
///
/// let hub = HubClient::from_env()?;
/// let recorder = Runner::new(hub.uplink("doorbell".parse()?)).recorder().await?;
/// recorder.record(Sample::new(Quantity::Motion, 1.0)).await;
/// let undelivered = recorder.close().await;
/// # assert_eq!(undelivered, 0);
/// # Ok(()) }
/// ```
///
/// Dropping it without [`close`](Self::close) ends the delivery; samples in memory are lost.
#[derive(Debug)]
pub struct Recorder {
    outbox: Arc<Outbox>,
    sender: Arc<Sender>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Runner {
    /// Starts delivering samples in the background, without a module. The runner's outbox settings apply.
    ///
    /// # Errors
    /// [`OutboxError`] if the directory of the outbox cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn recorder(self) -> Result<Recorder, OutboxError> {
        let line = self.open_uplink().await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let sender = Arc::new(line.sender);
        tasks.spawn({
            let (sender, stop) = (sender.clone(), stop.clone());
            async move { sender.run(&stop).await }
        });
        tasks.close();
        Ok(Recorder { outbox: sender.outbox.clone(), sender, stop, tasks })
    }
}

impl Recorder {
    /// Records a sample with the current time.
    ///
    /// # Cancel safety
    /// Once polled, the sample is queued.
    pub async fn record(&self, sample: Sample) {
        self.record_at(sample, self.outbox.clock().now()).await;
    }

    /// Records a sample of that time, for example an imported one.
    ///
    /// # Cancel safety
    /// Once polled, the sample is queued.
    pub async fn record_at(&self, sample: Sample, taken_at: Timestamp) {
        let reading = Reading::new(self.sender.uplink.module_id().clone(), sample, taken_at);
        self.outbox.push(vec![reading]).await;
    }

    /// Sends the queue, for up to 30 s while the hub answers, and stops. Returns the number of readings that
    /// have not reached the hub: with a directory they are on disk for the next start, otherwise they are lost.
    ///
    /// # Cancel safety
    /// Not cancel safe: unsent readings may be lost then.
    pub async fn close(self) -> u64 {
        self.stop.cancel();
        self.tasks.wait().await;
        self.sender.send_all(ONCE_SEND).await;
        let (left, lost) = self.outbox.close().await;
        left + lost
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
