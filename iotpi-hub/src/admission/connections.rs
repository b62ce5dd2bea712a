//! The limit on open connections, and the choice of the connection that is evicted when there are too many.
//!
//! A connection counts for its address until a request on it is authenticated, and for that caller from then on. Connections
//! that have not authenticated hold at most three quarters of all permits; when there are more, the oldest one of the address with
//! the most of them is evicted. So an honest client can always authenticate, however many connections an attacker opens.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{BudgetPermit, Holder};
use crate::{error::Result, lock::lock};

/// Minimum share of an address or a caller, however low the limit is.
const MIN_SHARE: usize = 64;

/// The open connections of a hub.
#[derive(Debug)]
pub(crate) struct Connections {
    limit: usize,
    open: Mutex<Open>,
    closed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    /// By id, the oldest first.
    connections: BTreeMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    holder: Holder,
    is_authenticated: bool,
    /// Cancelled when the connection is evicted.
    evicted: CancellationToken,
}

/// The permit of one open connection, released when it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    connections: Arc<Connections>,
    id: u64,
    address: IpAddr,
    is_proxy: bool,
    evicted: CancellationToken,
    cancels_on_close: AtomicBool,
    request: Mutex<Request>,
}

/// The request in progress on a connection.
#[derive(Debug, Default)]
struct Request {
    /// The caller, once it is known.
    holder: Option<Holder>,
    /// The holder that the connection counts for. It outlives the request.
    counted_for: Option<Holder>,
    /// The memory of its body.
    body: Option<BudgetPermit>,
}

impl Connections {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::default(), closed: Notify::new() })
    }

    /// A permit for a connection from this address. `is_proxy` means the address of a trusted proxy, whose connections carry the
    /// requests of many clients. If necessary another connection is evicted. `None` when authenticated callers hold all permits.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Option<ConnectionPermit> {
        let holder = Holder::of_address(address);
        let mut open = lock(&self.open);
        if !is_proxy && open.count(&holder, false) >= self.share(4) {
            open.evict(&holder);
        }
        // The last permits are reserved for programs on this machine.
        let limit = self.limit - if address.is_loopback() { 0 } else { self.limit / 16 };
        let unauthenticated = open.connections.values().filter(|c| !c.is_authenticated).count();
        if (unauthenticated >= self.limit - self.limit / 4 || open.connections.len() >= limit)
            && let Some(heaviest) = open.heaviest()
        {
            open.evict(&heaviest);
        }
        if open.connections.len() >= limit {
            return None;
        }
        let id = open.next_id;
        open.next_id += 1;
        let evicted = CancellationToken::new();
        let connection = Connection { holder, is_authenticated: false, evicted: evicted.clone() };
        open.connections.insert(id, connection);
        drop(open);
        Some(ConnectionPermit {
            connections: Arc::clone(self),
            id,
            address,
            is_proxy,
            evicted,
            cancels_on_close: AtomicBool::new(false),
            request: Mutex::default(),
        })
    }

    /// The maximum number of connections.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether few permits are left. Each connection is then closed after its response, so that idle ones hold no permit.
    pub(crate) fn is_scarce(&self) -> bool {
        lock(&self.open).connections.len() > self.limit - self.limit / 4
    }

    /// Waits until no connection is open.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn closed(&self) {
        loop {
            let closed = self.closed.notified();
            if lock(&self.open).connections.is_empty() {
                return;
            }
            closed.await;
        }
    }

    /// This fraction of all permits, and at least [`MIN_SHARE`].
    fn share(&self, parts: usize) -> usize {
        (self.limit / parts).max(MIN_SHARE).min(self.limit)
    }
}

impl Open {
    fn count(&self, holder: &Holder, is_authenticated: bool) -> usize {
        let counts = |c: &&Connection| c.is_authenticated == is_authenticated && c.holder == *holder;
        self.connections.values().filter(counts).count()
    }

    /// The address with the most connections that have not authenticated.
    fn heaviest(&self) -> Option<Holder> {
        let mut counts: HashMap<&Holder, usize> = HashMap::new();
        for connection in self.connections.values().filter(|c| !c.is_authenticated) {
            *counts.entry(&connection.holder).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(holder, _)| holder.clone())
    }

    /// Evicts the oldest connection of this address that has not authenticated.
    fn evict(&mut self, address: &Holder) {
        let oldest = self.connections.iter().find(|(_, c)| !c.is_authenticated && c.holder == *address);
        if let Some(connection) = oldest.map(|(id, _)| *id).and_then(|id| self.connections.remove(&id)) {
            connection.evicted.cancel();
        }
    }
}

impl ConnectionPermit {
    /// The address of the peer.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Cancelled when this connection is evicted in favour of another one.
    pub(crate) fn evicted(&self) -> &CancellationToken {
        &self.evicted
    }

    /// Records the caller of the request in progress. From now on the connection counts for the caller.
    ///
    /// # Errors
    /// `Unavailable` when the caller has too many connections open, or the connection was evicted.
    pub(crate) fn authenticated(&self, caller: Holder) -> Result<()> {
        let mut request = lock(&self.request);
        if request.counted_for.as_ref() != Some(&caller) {
            self.count_for(&caller)?;
            request.counted_for = Some(caller.clone());
        }
        request.holder = Some(caller);
        Ok(())
    }

    fn count_for(&self, caller: &Holder) -> Result<()> {
        let mut open = lock(&self.connections.open);
        let max = self.connections.share(2);
        if !self.is_proxy && open.count(caller, true) >= max {
            return Err(super::busy(format!(
                "{max} connections with these credentials are open already; close some of them"
            )));
        }
        let connection = open
            .connections
            .get_mut(&self.id)
            .ok_or_else(|| super::busy("too many connections are open; try again later"))?;
        connection.is_authenticated = true;
        if !self.is_proxy {
            connection.holder = caller.clone();
        }
        Ok(())
    }

    /// The holder whose share the request in progress uses: its caller, or its address before the caller is known.
    pub(crate) fn holder(&self) -> Holder {
        lock(&self.request).holder.clone().unwrap_or_else(|| Holder::of_address(self.address))
    }

    /// Whether the request in progress has been authenticated.
    pub(crate) fn is_authenticated(&self) -> bool {
        lock(&self.request).holder.is_some()
    }

    /// Keeps the memory of the request's body until the request is finished.
    pub(crate) fn keep(&self, body: BudgetPermit) {
        lock(&self.request).body = Some(body);
    }

    /// Finishes the request in progress: releases its memory and forgets its caller.
    pub(crate) fn finish_request(&self) {
        let mut request = lock(&self.request);
        request.holder = None;
        drop(request.body.take());
    }

    /// Cancels the request in progress as soon as its client closes or half-closes the connection. For responses that may
    /// take minutes; other requests are carried out and answered.
    pub(crate) fn cancel_on_close(&self) {
        self.cancels_on_close.store(true, Relaxed);
    }

    /// Whether the request in progress is cancelled when its client closes the connection.
    pub(crate) fn cancels_on_close(&self) -> bool {
        self.cancels_on_close.load(Relaxed)
    }

    /// The response has been sent or given up.
    pub(crate) fn finish_response(&self) {
        self.cancels_on_close.store(false, Relaxed);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = lock(&self.connections.open);
        open.connections.remove(&self.id);
        if open.connections.is_empty() {
            self.connections.closed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use iotpi_core::model::error::ErrorKind;

    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn user(name: &str) -> Holder {
        Holder::User(name.parse().unwrap())
    }

    fn is_open(permit: &ConnectionPermit) -> bool {
        !permit.evicted().is_cancelled()
    }

    #[test]
    fn the_oldest_connection_of_an_address_over_its_share_is_evicted() {
        let connections = Connections::new(1024);
        let other = connections.enter(address(2), false).unwrap();
        let held: Vec<_> = (0..256).map(|_| connections.enter(address(1), false).unwrap()).collect();
        assert!(held.iter().all(is_open));

        let one_more = connections.enter(address(1), false).unwrap();

        assert!(!is_open(&held[0]) && is_open(&held[1]) && is_open(&one_more) && is_open(&other));
    }

    #[test]
    fn a_proxy_has_no_share() {
        let connections = Connections::new(1024);

        let held: Vec<_> = (0..700).map(|_| connections.enter(address(1), true).unwrap()).collect();

        assert!(held.iter().all(is_open));
    }

    #[test]
    fn unauthenticated_connections_leave_room_for_those_that_authenticate() {
        let connections = Connections::new(1024);
        let attackers: Vec<_> = (0..255)
            .flat_map(|last| [last, last, last, last])
            .map(|last| connections.enter(address(last), false).unwrap())
            .collect();
        assert_eq!(attackers.iter().filter(|permit| is_open(permit)).count(), 768);

        let modules: Vec<_> = (0..200)
            .map(|n| {
                let permit = connections.enter(address(255), false).unwrap();
                permit.authenticated(user(&format!("m{n}"))).unwrap();
                permit
            })
            .collect();

        assert!(modules.iter().all(is_open));
        assert!(!connections.open.lock().unwrap().connections.is_empty());
    }

    #[test]
    fn a_caller_has_half_of_all_permits_and_an_authenticated_connection_is_never_evicted() {
        let connections = Connections::new(1024);
        let held: Vec<_> = (0..512)
            .map(|_| {
                let permit = connections.enter(address(1), false).unwrap();
                permit.authenticated(user("a")).unwrap();
                permit
            })
            .collect();

        let one_more = connections.enter(address(1), false).unwrap();

        assert_eq!(one_more.authenticated(user("a")).unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(one_more.authenticated(user("b")).is_ok());
        assert!(held.iter().all(is_open));
    }

    #[test]
    fn the_last_permits_are_for_this_machine_and_the_limit_holds() {
        let connections = Connections::new(16);
        let enter = |address: IpAddr, name: &str| {
            let permit = connections.enter(address, false)?;
            permit.authenticated(user(name)).unwrap();
            Some(permit)
        };
        let _held: Vec<_> = (0..15).map(|n| enter(address(1), &format!("a{n}")).unwrap()).collect();

        assert!(enter(address(2), "b").is_none());
        let _local = enter([127, 0, 0, 1].into(), "c").unwrap();
        assert!(enter([127, 0, 0, 1].into(), "d").is_none());
    }

    #[test]
    fn the_holder_of_a_body_is_the_caller_or_its_address_before_authentication() {
        let connections = Connections::new(16);
        let permit = connections.enter(address(1), false).unwrap();
        assert_eq!(permit.holder(), Holder::of_address(address(1)));

        permit.authenticated(user("a")).unwrap();
        assert_eq!((permit.holder(), permit.is_authenticated()), (user("a"), true));
        permit.finish_request();

        assert_eq!((permit.holder(), permit.is_authenticated()), (Holder::of_address(address(1)), false));
    }

    #[tokio::test]
    async fn closed_returns_when_the_last_connection_closes() {
        let connections = Connections::new(16);
        let permit = connections.enter(address(1), false).unwrap();
        let mut closed = std::pin::pin!(connections.closed());
        assert!(closed.as_mut().now_or_never().is_none());

        drop(permit);

        closed.await;
    }
}
