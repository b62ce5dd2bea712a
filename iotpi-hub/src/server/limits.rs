//! Time limits of a connection: for the head of a request, between requests, and for a client that does not read.
//!
//! hyper's `header_read_timeout` cannot replace the first two. It also runs between requests, so it would close kept-alive
//! connections as early as those that owe a head.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    admission::{ConnectionPermit, SendCredit},
    lock::lock,
    ops::authorization::{Authorization, AuthorizationEnd},
};

/// How often the deadline of a busy connection is computed again.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The phase of the request in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The head of a request is being read. A new connection starts with it.
    Head,
    /// The request is being handled, or the body of its response is being sent.
    Busy,
    /// Between two requests.
    Idle,
}

/// What the limits of one connection depend on.
pub(super) struct ConnectionState {
    /// The phase and its start.
    phase: Mutex<(Phase, Instant)>,
    sending: Mutex<SendCredit>,
    /// Becomes ready when the authorization ends that the response in progress depends on.
    authorization: Mutex<Option<AuthorizationEnd>>,
    is_write_broken: AtomicBool,
}

impl ConnectionState {
    pub(super) fn new() -> Self {
        Self {
            phase: Mutex::new((Phase::Head, Instant::now())),
            sending: Mutex::new(SendCredit::new()),
            authorization: Mutex::default(),
            is_write_broken: AtomicBool::new(false),
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        *lock(&self.phase) = (phase, Instant::now());
    }

    /// Bytes arrived. Between two requests, they begin a head.
    pub(super) fn received(&self) {
        let mut phase = lock(&self.phase);
        if phase.0 == Phase::Idle {
            *phase = (Phase::Head, Instant::now());
        }
    }

    /// The client accepted this number of bytes, or none at present.
    pub(super) fn wrote(&self, bytes: Option<usize>) {
        lock(&self.sending).wrote(bytes);
    }

    /// Whether the client closed the connection, so that responses cannot be sent. Requests that it sent before are still
    /// carried out.
    pub(super) fn is_write_broken(&self) -> bool {
        self.is_write_broken.load(Relaxed)
    }

    pub(super) fn set_write_broken(&self) {
        self.is_write_broken.store(true, Relaxed);
    }

    /// The response in progress must end with this authorization.
    pub(super) fn set_authorization(&self, authorization: Authorization) {
        let ended: AuthorizationEnd = Box::pin(async move { authorization.ended().await });
        *lock(&self.authorization) = Some(ended);
    }

    /// Ready once when the authorization of the response in progress has ended. The body of the response then ends by itself.
    /// A client that does not read would delay that, so it keeps the connection for a moment only.
    pub(super) fn poll_revoked(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut authorization = lock(&self.authorization);
        let Some(ended) = authorization.as_mut() else { return Poll::Pending };
        if lock(&self.phase).0 != Phase::Busy && lock(&self.sending).deadline().is_none() {
            // The response has been sent.
            *authorization = None;
            return Poll::Pending;
        }
        ready!(ended.as_mut().poll(context));
        *authorization = None;
        lock(&self.sending).revoke();
        Poll::Ready(())
    }

    /// Whether the client reads a response more slowly than it has to.
    pub(super) fn is_stalled(&self) -> bool {
        lock(&self.sending).deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The time at which the limits have to be checked again.
    pub(super) fn deadline(&self, head: Duration, idle: Duration) -> Instant {
        let (phase, since) = *lock(&self.phase);
        let next_check = match phase {
            Phase::Head => since + head,
            Phase::Idle => since + idle,
            Phase::Busy => Instant::now() + CHECK_INTERVAL,
        };
        lock(&self.sending).deadline().map_or(next_check, |deadline| deadline.min(next_check))
    }
}

/// Ends the busy phase of a request when its response has been sent or given up.
pub(super) struct RequestGuard {
    pub(super) state: Arc<ConnectionState>,
    pub(super) permit: Arc<ConnectionPermit>,
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.permit.finish_response();
        self.state.set_phase(Phase::Idle);
    }
}
