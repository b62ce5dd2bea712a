//! Admission control: limits on the connections, request bodies and queries in progress, and on the share of each that one
//! caller may hold.
//!
//! Each budget is shared: a caller, or an address that has not authenticated, holds at most its share, so that no token and no
//! address can lock out the others. Deliberately absent: priorities between callers.

mod connections;
mod rate;
mod shared_budget;

use std::{
    hash::Hash,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bytes::Bytes;
pub(crate) use connections::{ConnectionPermit, Connections};
use iotpi_core::{ModuleId, model::id::UserName};
pub(crate) use rate::{MIN_BYTES_PER_SEC, MinimumRate, SendCredit};
pub(crate) use shared_budget::{BudgetPermit, SharedBudget};

use crate::{
    auth::Caller,
    error::{HubError, Result},
};

/// Bytes of JSON bodies that are being received or handled.
const MAX_BODY_BYTES: u32 = 8 * 1024 * 1024;
/// Share of one caller.
const MAX_BODY_BYTES_PER_CALLER: u32 = 1024 * 1024;
/// Bytes of frames that are being received.
const MAX_FRAME_BYTES: u32 = 64 * 1024 * 1024;
/// Share of one caller: two frames of the maximum size.
const MAX_FRAME_BYTES_PER_CALLER: u32 = 16 * 1024 * 1024;
/// Bytes of frames that are being sent; each viewer has a frame of its own.
const MAX_VIEWED_BYTES: u32 = 64 * 1024 * 1024;
/// Share of one caller.
const MAX_VIEWED_BYTES_PER_CALLER: u32 = 32 * 1024 * 1024;
/// Concurrent queries of one caller; all queries share a few connections of the store.
const MAX_QUERIES_PER_CALLER: u32 = 2;
/// Queries that run or wait for a connection of the store.
const MAX_QUERIES: u32 = 64;
/// Concurrent exports of recordings; each holds one or two frames in memory and a plan of up to 16 MB.
const MAX_EXPORTS: u32 = 4;
/// Share of one caller.
const MAX_EXPORTS_PER_CALLER: u32 = 2;
/// Maximum time for which a query waits for earlier ones.
const MAX_QUERY_WAIT: Duration = Duration::from_secs(20);
/// Maximum duration of a query.
const MAX_QUERY_TIME: Duration = Duration::from_secs(30);
/// Maximum time for which the body of a request waits for its budget, well within a module's deadline of 10 s.
const MAX_WAIT: Duration = Duration::from_secs(4);
/// Upper bound of `Retry-After`, which is drawn from 1 s up, so that refused callers do not all retry at the same time.
const MAX_RETRY_AFTER_SECS: u32 = 10;

/// A holder of shares of the budgets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// A module, identified by its token.
    Module(ModuleId),
    /// A user, or a token that does not belong to a module, by name.
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

    /// The holder for the caller of an operation that requires authentication.
    fn of_authenticated(caller: &Caller) -> Self {
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

/// The budgets of a hub.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Bytes of JSON bodies, from the arrival of the first byte until the request is answered.
    pub(crate) bodies: SharedBudget,
    /// Bytes of frames, from the arrival of the first byte until the request is answered.
    pub(crate) frames: SharedBudget,
    /// Bytes of frames, from the time a viewer receives them from the camera until they have been sent.
    viewed: SharedBudget,
    /// Queries over readings.
    queries: SharedBudget,
    /// Exports of recordings.
    exports: SharedBudget,
}

impl Admission {
    /// Runs a query within the budget, and cancels it when it takes longer than 30 s.
    ///
    /// # Errors
    /// The query's; `Unavailable` when it cannot start in time or takes too long.
    pub(crate) async fn query<T>(
        &self,
        caller: &Caller,
        query: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let _permit = self.queries.acquire(&Holder::of_authenticated(caller), 1).await?;
        tokio::time::timeout(MAX_QUERY_TIME, query).await.unwrap_or_else(|_| {
            Err(busy("the query took longer than 30 s; ask for a shorter time or wider buckets"))
        })
    }

    /// The bytes of a frame for a viewer. They count against the budget until they have been sent, however slow the viewer is.
    ///
    /// # Errors
    /// `Unavailable` when the viewers of this caller, or all viewers, have used up the budget.
    pub(crate) async fn view(&self, caller: &Caller, jpeg: &Bytes) -> Result<Bytes> {
        let permit = self.viewed.acquire(&Holder::of_authenticated(caller), jpeg.len()).await?;
        Ok(Bytes::from_owner(ViewedFrame { jpeg: jpeg.clone(), _permit: permit }))
    }

    /// A permit for an export, released when it is dropped.
    ///
    /// # Errors
    /// `RateLimited` when the maximum number of exports is running, of this caller or in all.
    pub(crate) async fn export(&self, caller: &Caller) -> Result<BudgetPermit> {
        self.exports.acquire(&Holder::of_authenticated(caller), 1).await.map_err(|_| {
            let detail = format!(
                "{MAX_EXPORTS_PER_CALLER} exports of one caller and {MAX_EXPORTS} in all can run at a time; try again when one \
                 has finished"
            );
            HubError::rate_limited(detail).retry_after(Duration::from_secs(MAX_RETRY_AFTER_SECS.into()))
        })
    }
}

/// The bytes of a frame with their permit.
struct ViewedFrame {
    jpeg: Bytes,
    _permit: BudgetPermit,
}

impl AsRef<[u8]> for ViewedFrame {
    fn as_ref(&self) -> &[u8] {
        &self.jpeg
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            bodies: SharedBudget::new(MAX_BODY_BYTES, MAX_BODY_BYTES_PER_CALLER, MAX_WAIT),
            frames: SharedBudget::new(MAX_FRAME_BYTES, MAX_FRAME_BYTES_PER_CALLER, MAX_WAIT),
            viewed: SharedBudget::new(MAX_VIEWED_BYTES, MAX_VIEWED_BYTES_PER_CALLER, MAX_WAIT),
            exports: SharedBudget::new(MAX_EXPORTS, MAX_EXPORTS_PER_CALLER, Duration::ZERO),
            queries: SharedBudget::new(MAX_QUERIES, MAX_QUERIES_PER_CALLER, MAX_QUERY_WAIT),
        }
    }
}

/// The error of a request that exceeds a budget, with the time after which to retry.
pub(crate) fn busy(detail: impl Into<String>) -> HubError {
    HubError::unavailable(detail).retry_in(1..=MAX_RETRY_AFTER_SECS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn viewers_of_one_caller_that_read_nothing_hold_at_most_its_share() {
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
    fn an_unauthenticated_caller_is_identified_by_its_address_or_its_ipv6_network() {
        let holder = |text: &str| Holder::of_address(text.parse().unwrap());

        assert_eq!(holder("192.0.2.1"), holder("::ffff:192.0.2.1"));
        assert_ne!(holder("192.0.2.1"), holder("192.0.2.2"));
        assert_eq!(holder("2001:db8:1:2::1"), holder("2001:db8:1:2:ffff::9"));
        assert_ne!(holder("2001:db8:1:2::1"), holder("2001:db8:1:3::1"));
    }
}
