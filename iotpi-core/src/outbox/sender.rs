//! Delivery of an outbox to a hub: one task for the live queue, another for the backlog and the gaps.
//!
//! Both send at the same time, so a backlog of days delays a new reading by at most the request in progress.
//! They share one retry gate: when a request fails both pause, and then one of them retries for both.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    any_error::error_chain,
    client::backoff::{Backoff, pause},
    model::error::ErrorKind,
    outage::HubOutages,
    outbox::{Outbox, QueuedReading},
    uplink::{Uplink, UplinkError},
};

/// The time limit of a request of the live queue; then its readings are queued again.
const LIVE_DEADLINE: Duration = Duration::from_secs(5);
/// The interval of [`Outbox::maintain`].
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after the hub refused a gap (it does not know the route, or the token has no permission).
const GAP_RETRY: Duration = Duration::from_secs(60);

/// Delivers an outbox to a hub.
pub(crate) struct Sender {
    pub uplink: Arc<dyn Uplink>,
    pub outbox: Arc<Outbox>,
    pub outages: HubOutages,
    gate: RetryGate,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("module_id", self.uplink.module_id()).finish_non_exhaustive()
    }
}

impl Sender {
    pub fn new(uplink: Arc<dyn Uplink>, outbox: Arc<Outbox>, backoff: Backoff) -> Self {
        Self { uplink, outbox, outages: HubOutages::default(), gate: RetryGate::new(backoff) }
    }

    /// Sends the live queue and the backlog, and maintains the outbox, until `stop`.
    pub async fn run(&self, stop: &CancellationToken) {
        tokio::join!(self.run_live(stop), self.run_backlog(stop), self.run_maintenance(stop));
    }

    /// Sends new readings as they arrive, until `stop`.
    async fn run_live(&self, stop: &CancellationToken) {
        let turn = async || {
            while !self.outbox.has_live() {
                self.outbox.live_added.notified().await;
            }
            self.gate.permit().await
        };
        while let Some(turn) = stop.run_until_cancelled(turn()).await {
            match self.send_live(stop.cancelled()).await {
                Some(Ok(())) => self.succeeded(),
                Some(Err(error)) => self.failed(&error),
                None => {}
            }
            drop(turn);
        }
    }

    /// Sends the backlog, oldest first, and reports gaps, until `stop`.
    async fn run_backlog(&self, stop: &CancellationToken) {
        // The time from which gaps may be reported: later after a refusal.
        let mut gaps_from = Instant::now();
        while let Some((is_gap, turn)) = stop.run_until_cancelled(self.backlog_step(gaps_from)).await {
            let done = if is_gap {
                match stop.run_until_cancelled(self.report_gap()).await {
                    Some(Err(error)) if !error.is_transient() => {
                        tracing::warn!(module = %self.uplink.module_id(), %error, "a gap could not be reported");
                        gaps_from = Instant::now() + GAP_RETRY;
                        None
                    }
                    done => done,
                }
            } else {
                self.send_backlog(stop.cancelled()).await
            };
            match done {
                Some(Ok(())) => self.succeeded(),
                Some(Err(error)) => self.failed(&error),
                None => {}
            }
            drop(turn);
        }
    }

    /// Waits for a gap to report (`true`) or for a backlog to send, and for the permit.
    async fn backlog_step(&self, gaps_from: Instant) -> (bool, Option<SemaphorePermit<'_>>) {
        loop {
            let (readings, gaps) = self.outbox.pending().await;
            let is_gap = gaps && gaps_from <= Instant::now();
            if readings || is_gap {
                let turn = self.gate.permit().await;
                // A gap that was sent once does not grow any more. While it is unknown whether the hub
                // answers, readings are tried first.
                return (is_gap && !(readings && turn.is_some()), turn);
            }
            tokio::select! {
                () = self.outbox.backlog_added.notified() => {}
                () = sleep_until(gaps_from), if gaps => {}
            }
        }
    }

    /// Maintains the outbox until `stop`.
    async fn run_maintenance(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(sleep(MAINTENANCE_INTERVAL)).await.is_some() {
            self.outbox.maintain().await;
        }
    }

    /// Sends new readings, and a backlog in memory, until nothing is left, the hub does not answer, or the
    /// time is over. For the shutdown.
    pub async fn send_rest(&self, within: Duration) {
        let deadline = Instant::now() + within;
        if self.send_all_live(deadline).await && !self.outbox.is_on_disk() {
            self.send_all_backlog(deadline).await;
        }
    }

    /// Like [`Self::send_rest`], with a backlog on disk.
    pub async fn send_all(&self, within: Duration) {
        let deadline = Instant::now() + within;
        if self.send_all_live(deadline).await {
            self.send_all_backlog(deadline).await;
        }
    }

    /// Returns whether all were sent.
    async fn send_all_live(&self, deadline: Instant) -> bool {
        while self.outbox.has_live() {
            if !matches!(self.send_live(sleep_until(deadline)).await, Some(Ok(()))) {
                return false;
            }
        }
        true
    }

    async fn send_all_backlog(&self, deadline: Instant) {
        loop {
            let sent = match self.outbox.pending().await {
                (true, _) => self.send_backlog(sleep_until(deadline)).await,
                (false, true) => timeout_at(deadline, self.report_gap()).await.ok(),
                (false, false) => return,
            };
            if !matches!(sent, Some(Ok(()))) {
                return;
            }
        }
    }

    /// Sends the newest readings; returns `None` if there are none or `over` comes first. Readings that were
    /// not accepted are queued again.
    async fn send_live(&self, over: impl Future<Output = ()>) -> Option<Result<(), UplinkError>> {
        let mut batch = self.outbox.checkout_live();
        if batch.is_empty() {
            return None;
        }
        let readings: Vec<_> = batch.iter().map(|(_, reading)| reading.clone()).collect();
        let mut delivered = 0;
        let sent = tokio::select! {
            biased;
            sent = timeout(LIVE_DEADLINE, self.deliver(&readings, &mut delivered)) => Some(sent),
            () = over => None,
        };
        self.outbox.nack_live(batch.split_off(delivered));
        let too_slow = || UplinkError::Timeout { url: None, after: LIVE_DEADLINE };
        sent.map(|sent| sent.unwrap_or_else(|_| Err(too_slow())))
    }

    /// Sends the oldest readings of the backlog; returns `None` if there are none or `over` comes first.
    async fn send_backlog(&self, over: impl Future<Output = ()>) -> Option<Result<(), UplinkError>> {
        let readings = self.outbox.checkout().await;
        if readings.is_empty() {
            return None;
        }
        let mut delivered = 0;
        let sent = tokio::select! {
            biased;
            sent = self.deliver(&readings, &mut delivered) => Some(sent),
            () = over => None,
        };
        self.outbox.ack(delivered).await;
        sent
    }

    async fn report_gap(&self) -> Result<(), UplinkError> {
        let Some(gap) = self.outbox.next_gap().await else { return Ok(()) };
        self.uplink.report_gap(gap.clone()).await?;
        self.outbox.gap_reported(gap).await;
        Ok(())
    }

    /// Sends readings in order; `delivered` is the number of them, from the first on, that need not be sent
    /// again. A refused batch is halved until the invalid reading is alone; that one is dropped and becomes a
    /// gap.
    async fn deliver(&self, readings: &[QueuedReading], delivered: &mut usize) -> Result<(), UplinkError> {
        let mut size = readings.len();
        while *delivered < readings.len() {
            let part = &readings[*delivered..readings.len().min(*delivered + size)];
            let module_id = self.uplink.module_id();
            let to_send =
                part.iter().map(|reading| reading.to_send(module_id, self.outbox.clock())).collect();
            match self.uplink.deliver(to_send).await {
                Ok(_) => {
                    *delivered += part.len();
                    size *= 2;
                }
                Err(error) if is_unacceptable(error.kind()) && part.len() > 1 => size = part.len() / 2,
                Err(error) if is_unacceptable(error.kind()) => {
                    tracing::error!(module = %module_id, %error, reading = ?part, "the hub will not take a reading");
                    for reading in part {
                        self.outbox.refuse(reading.clone()).await;
                    }
                    *delivered += part.len();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn succeeded(&self) {
        self.outages.delivered(self.uplink.module_id());
        self.gate.succeeded();
    }

    fn failed(&self, error: &UplinkError) {
        tracing::debug!(module = %self.uplink.module_id(), error = %error_chain(error), "a delivery failed");
        self.outages.delivery_failed(self.uplink.module_id(), error);
        self.gate.failed(error);
    }
}

/// Whether the hub will never accept the readings.
fn is_unacceptable(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidArgument | ErrorKind::Unprocessable | ErrorKind::TooLarge)
}

/// The shared pause after failures.
#[derive(Debug)]
struct RetryGate {
    paused: Mutex<Paused>,
    resumed: Notify,
    /// Held by the task that retries while it is unknown whether the hub answers.
    trying: Semaphore,
}

#[derive(Debug)]
struct Paused {
    backoff: Backoff,
    /// The end of the pause; `None` while the hub answers.
    until: Option<Instant>,
}

impl RetryGate {
    fn new(backoff: Backoff) -> Self {
        let paused = Mutex::new(Paused { backoff, until: None });
        Self { paused, resumed: Notify::new(), trying: Semaphore::new(1) }
    }

    /// Waits for the end of the pause. After a failure only one task gets a permit, until it succeeds.
    async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        let mut permit = None;
        loop {
            let resumed = self.resumed.notified();
            tokio::pin!(resumed);
            resumed.as_mut().enable();
            let until = self.lock().until?;
            if permit.is_some() && until <= Instant::now() {
                return permit;
            }
            tokio::select! {
                () = resumed => {}
                () = sleep_until(until), if permit.is_some() => {}
                acquired = self.trying.acquire(), if permit.is_none() => permit = acquired.ok(),
            }
        }
    }

    fn failed(&self, error: &UplinkError) {
        let mut paused = self.lock();
        let pause = pause(&mut paused.backoff, error);
        paused.until = Some(Instant::now() + pause);
    }

    fn succeeded(&self) {
        let mut paused = self.lock();
        paused.backoff.succeeded();
        if paused.until.take().is_some() {
            self.resumed.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Paused> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
