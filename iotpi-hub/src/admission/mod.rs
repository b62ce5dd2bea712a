//! Admission control: how many connections, request bodies and queries the hub works on at a time, and how large a part of
//! each one caller may hold.
//!
//! Each budget is shared: a caller, or an address that has not authenticated, holds at most its share, so that no token and no
//! address can keep everybody else out. Deliberately absent: priorities between callers.

mod connections;
mod rate;
mod shares;

use std::{
    hash::Hash,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bytes::Bytes;
pub(crate) use connections::{ConnectionPermit, Connections};
use iotpi_core::{ModuleId, UserName};
pub(crate) use rate::{MIN_BYTES_PER_SEC, MinimumRate, SendCredit};
pub(crate) use shares::{Permit, Shares};

use crate::{
    auth::Caller,
    error::{HubError, Result},
};

/// JSON bodies that are being received and carried out at a time, in bytes.
const MAX_BODY_BYTES: u32 = 8 * 1024 * 1024;
/// Of these, what one caller may hold.
const MAX_BODY_BYTES_PER_CALLER: u32 = 1024 * 1024;
/// Frames that are being received at a time, in bytes.
const MAX_FRAME_BYTES: u32 = 64 * 1024 * 1024;
/// Of these, what one caller may hold: two of the largest frames.
const MAX_FRAME_BYTES_PER_CALLER: u32 = 16 * 1024 * 1024;
/// Frames that are being sent to viewers at a time, in bytes: each viewer has one of its own.
const MAX_VIEWED_BYTES: u32 = 64 * 1024 * 1024;
/// Of these, what one caller may hold.
const MAX_VIEWED_BYTES_PER_CALLER: u32 = 32 * 1024 * 1024;
/// Queries of one caller that run at a time; the store has a few connections for the queries of all.
const MAX_QUERIES_PER_CALLER: u32 = 2;
/// Queries that run or wait for a connection of the store.
const MAX_QUERIES: u32 = 64;
/// Exports of recordings at a time; each holds a frame or two in memory and a plan of up to 16 MB.
const MAX_EXPORTS: u32 = 4;
/// Of these, what one caller may have.
const MAX_EXPORTS_PER_CALLER: u32 = 2;
/// How long a query waits for those before it.
const MAX_QUERY_WAIT: Duration = Duration::from_secs(20);
/// How long a query may run.
const MAX_QUERY_TIME: Duration = Duration::from_secs(30);
/// How long the body of a request waits for room, well within a module's deadline of 10 s.
const MAX_WAIT: Duration = Duration::from_secs(4);
/// A caller that was refused is told to come back after 1 to this many seconds, at random, so that not all come back at once.
const MAX_RETRY_AFTER_SECS: u32 = 10;

/// The party that a budget is shared between.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// A module, by its token.
    Module(ModuleId),
    /// A user, or a token that is not a module's, by name.
    User(UserName),
    /// A caller that has not authenticated: its IPv4 address, or the /64 network of its IPv6 address.
    Address(IpAddr),
}

impl Holder {
    pub(crate) fn of_address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
            v4 => v4,
        })
    }

    /// The holder for a caller of an operation that nobody may call unauthenticated.
    fn of_known(caller: &Caller) -> Self {
        Self::of_caller(caller, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    pub(crate) fn of_caller(caller: &Caller, address: IpAddr) -> Self {
        match (caller.module_id(), caller.identity()) {
            (Some(id), _) => Self::Module(id.clone()),
            (None, Some(identity)) => Self::User(identity.name.clone()),
            (None, None) => Self::of_address(address),
        }
    }
}

/// The budgets of a hub for what requests hold.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Bytes of JSON bodies, from the arrival of the first byte until the request is answered.
    pub(crate) bodies: Shares,
    /// Bytes of frames, from the arrival of the first byte until the request is answered.
    pub(crate) frames: Shares,
    /// Bytes of frames, from when they are given to a viewer until they are sent.
    viewed: Shares,
    /// Queries over readings.
    queries: Shares,
    /// Exports of recordings.
    exports: Shares,
}

impl Admission {
    /// Runs a query when it is this caller's turn, for a stated time at most; a query that takes longer is cancelled.
    ///
    /// # Errors
    /// The query's; `Unavailable` when its turn does not come in time or it takes too long.
    pub(crate) async fn query<T>(
        &self,
        caller: &Caller,
        query: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let _turn = self.queries.acquire(&Holder::of_known(caller), 1).await?;
        tokio::time::timeout(MAX_QUERY_TIME, query).await.unwrap_or_else(|_| {
            Err(busy("the query took longer than 30 s; ask for a shorter time or wider buckets"))
        })
    }

    /// A frame for a viewer, which keeps its bytes in memory until they are sent, however slow the viewer is.
    ///
    /// # Errors
    /// `Unavailable` when the viewers of this caller, or all of them, have too much in progress.
    pub(crate) async fn view(&self, caller: &Caller, jpeg: &Bytes) -> Result<Bytes> {
        let permit = self.viewed.acquire(&Holder::of_known(caller), jpeg.len()).await?;
        Ok(Bytes::from_owner(Viewed { jpeg: jpeg.clone(), _permit: permit }))
    }

    /// A place for an export, until it is dropped.
    ///
    /// # Errors
    /// `RateLimited` when the caller has as many as it may, or the hub.
    pub(crate) async fn export(&self, caller: &Caller) -> Result<Permit> {
        self.exports.acquire(&Holder::of_known(caller), 1).await.map_err(|_| {
            let detail = format!(
                "{MAX_EXPORTS_PER_CALLER} exports of one caller and {MAX_EXPORTS} in all can run at a time; try again when one \
                 has finished"
            );
            HubError::rate_limited(detail).retry_after(Duration::from_secs(MAX_RETRY_AFTER_SECS.into()))
        })
    }
}

/// The bytes of a frame with their place in the budget.
struct Viewed {
    jpeg: Bytes,
    _permit: Permit,
}

impl AsRef<[u8]> for Viewed {
    fn as_ref(&self) -> &[u8] {
        &self.jpeg
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            bodies: Shares::new(MAX_BODY_BYTES, MAX_BODY_BYTES_PER_CALLER, MAX_WAIT),
            frames: Shares::new(MAX_FRAME_BYTES, MAX_FRAME_BYTES_PER_CALLER, MAX_WAIT),
            viewed: Shares::new(MAX_VIEWED_BYTES, MAX_VIEWED_BYTES_PER_CALLER, MAX_WAIT),
            exports: Shares::new(MAX_EXPORTS, MAX_EXPORTS_PER_CALLER, Duration::ZERO),
            queries: Shares::new(MAX_QUERIES, MAX_QUERIES_PER_CALLER, MAX_QUERY_WAIT),
        }
    }
}

/// The refusal of a request for which there is no room, with the time to come back.
pub(crate) fn busy(detail: impl Into<String>) -> HubError {
    // Without randomness all come back at once, as they would have anyway.
    let drawn = getrandom::u32().unwrap_or_default();
    let wait = Duration::from_secs(u64::from(1 + drawn % MAX_RETRY_AFTER_SECS));
    HubError::unavailable(detail).retry_after(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn viewers_of_a_caller_that_take_nothing_hold_a_share_of_the_frames() {
        let admission = Admission::default();
        let caller = |name: &str| Caller::known(name.parse().unwrap(), crate::auth::Role::Viewer, None);
        let jpeg = Bytes::from(vec![0; 8 * 1024 * 1024]);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(admission.view(&caller("slow"), &jpeg).await.unwrap());
        }

        assert!(admission.view(&caller("slow"), &jpeg).await.is_err());
        let other = admission.view(&caller("other"), &jpeg).await.unwrap();

        assert_eq!(other.as_ptr(), jpeg.as_ptr(), "the bytes are shared");
        held.pop();
        assert!(admission.view(&caller("slow"), &jpeg).await.is_ok());
    }

    #[test]
    fn an_unauthenticated_caller_is_known_by_its_address_or_its_ipv6_network() {
        let holder = |text: &str| Holder::of_address(text.parse().unwrap());

        assert_eq!(holder("192.0.2.1"), holder("::ffff:192.0.2.1"));
        assert_ne!(holder("192.0.2.1"), holder("192.0.2.2"));
        assert_eq!(holder("2001:db8:1:2::1"), holder("2001:db8:1:2:ffff::9"));
        assert_ne!(holder("2001:db8:1:2::1"), holder("2001:db8:1:3::1"));
    }
}
