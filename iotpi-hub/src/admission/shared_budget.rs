//! A budget of which each holder may hold a share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Holder, busy};
use crate::{error::Result, lock::lock};

/// The rest of each holder's share, and the number of requests that hold or wait for a part of it.
type Holders = Arc<Mutex<HashMap<Holder, (Arc<Semaphore>, usize)>>>;

/// A fair semaphore over units (bytes, queries), which are granted in the order of the requests.
#[derive(Debug)]
pub(crate) struct SharedBudget {
    total: Arc<Semaphore>,
    share: u32,
    max_wait: Duration,
    holders: Holders,
}

/// Units of a budget, released when this is dropped.
#[derive(Debug)]
pub(crate) struct BudgetPermit {
    from_total: OwnedSemaphorePermit,
    from_share: OwnedSemaphorePermit,
    entry: HolderEntry,
}

/// Keeps a holder in the map while it holds or waits for units.
#[derive(Debug)]
struct HolderEntry {
    holder: Holder,
    semaphore: Arc<Semaphore>,
    holders: Holders,
}

impl SharedBudget {
    pub(super) fn new(total: u32, share: u32, max_wait: Duration) -> Self {
        let total = Arc::new(Semaphore::new(total as usize));
        Self { total, share, max_wait, holders: Holders::default() }
    }

    /// Waits for units: first from the holder's share, then from the whole budget. A request for more than a share is granted
    /// the whole share.
    ///
    /// # Errors
    /// `Unavailable` with a time to retry when the units are not available in time.
    ///
    /// # Cancel safety
    /// A cancelled wait holds nothing.
    pub(crate) async fn acquire(&self, holder: &Holder, units: usize) -> Result<BudgetPermit> {
        let units = self.within_share(units);
        let entry = self.entry(holder);
        let permits = Self::permits(&self.total, &entry.semaphore, units);
        let (from_share, from_total) =
            timeout(self.max_wait, permits).await.ok().flatten().ok_or_else(exhausted)?;
        Ok(BudgetPermit { from_total, from_share, entry })
    }

    /// Changes the size of a permit, up to a whole share.
    ///
    /// # Errors
    /// As [`Self::acquire`]; the permit keeps its size.
    ///
    /// # Cancel safety
    /// A cancelled wait leaves the permit as it was.
    pub(crate) async fn resize(&self, permit: &mut BudgetPermit, units: usize) -> Result<()> {
        let (units, held) = (self.within_share(units) as usize, permit.units());
        if units < held {
            drop(permit.from_total.split(held - units));
            drop(permit.from_share.split(held - units));
        } else if units > held {
            let more = u32::try_from(units - held).unwrap_or(u32::MAX);
            let permits = Self::permits(&self.total, &permit.entry.semaphore, more);
            let (from_share, from_total) =
                timeout(self.max_wait, permits).await.ok().flatten().ok_or_else(exhausted)?;
            permit.from_share.merge(from_share);
            permit.from_total.merge(from_total);
        }
        Ok(())
    }

    fn within_share(&self, units: usize) -> u32 {
        u32::try_from(units).unwrap_or(u32::MAX).min(self.share)
    }

    fn entry(&self, holder: &Holder) -> HolderEntry {
        let mut holders = lock(&self.holders);
        let new = || (Arc::new(Semaphore::new(self.share as usize)), 0);
        let (semaphore, requests) = holders.entry(holder.clone()).or_insert_with(new);
        *requests += 1;
        let semaphore = Arc::clone(semaphore);
        HolderEntry { holder: holder.clone(), semaphore, holders: Arc::clone(&self.holders) }
    }

    async fn permits(
        total: &Arc<Semaphore>,
        own: &Arc<Semaphore>,
        units: u32,
    ) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let from_share = Arc::clone(own).acquire_many_owned(units).await.ok()?;
        let from_total = Arc::clone(total).acquire_many_owned(units).await.ok()?;
        Some((from_share, from_total))
    }
}

impl BudgetPermit {
    /// The number of units held.
    pub(crate) fn units(&self) -> usize {
        self.from_total.num_permits()
    }
}

impl Drop for HolderEntry {
    fn drop(&mut self) {
        let mut holders = lock(&self.holders);
        if let Some((_, requests)) = holders.get_mut(&self.holder) {
            *requests -= 1;
            if *requests == 0 {
                holders.remove(&self.holder);
            }
        }
    }
}

fn exhausted() -> crate::HubError {
    busy("the hub has too many requests in progress; try again later")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use iotpi_core::model::error::ErrorKind;

    use super::*;

    fn holder(name: &str) -> Holder {
        Holder::User(name.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_over_its_share_waits_and_others_do_not() {
        let shares = SharedBudget::new(10, 4, Duration::from_secs(4));
        let held = shares.acquire(&holder("greedy"), 4).await.unwrap();

        let over = shares.acquire(&holder("greedy"), 1).now_or_never();
        let other = shares.acquire(&holder("honest"), 4).now_or_never();

        assert!(over.is_none());
        assert!(other.unwrap().is_ok());
        drop(held);
        assert!(shares.acquire(&holder("greedy"), 4).now_or_never().unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_waits_too_long_is_refused_with_a_time_to_retry() {
        let shares = SharedBudget::new(10, 4, Duration::from_secs(4));
        let held = shares.acquire(&holder("a"), 4).await.unwrap();

        let refused = shares.acquire(&holder("a"), 1).await.unwrap_err();

        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        let wait = refused.wait().unwrap();
        assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(10), "{wait:?}");
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_a_share_is_granted_a_share_and_a_permit_can_be_resized() {
        let shares = SharedBudget::new(10, 4, Duration::from_secs(4));
        let mut permit = shares.acquire(&holder("a"), 100).await.unwrap();
        assert_eq!(shares.total.available_permits(), 6);

        shares.resize(&mut permit, 1).await.unwrap();
        assert_eq!(shares.total.available_permits(), 9);
        shares.resize(&mut permit, 100).await.unwrap();

        assert_eq!(shares.total.available_permits(), 6);
        drop(permit);
        assert_eq!(shares.total.available_permits(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_holds_and_waits_for_nothing_is_removed() {
        let shares = SharedBudget::new(10, 4, Duration::from_secs(4));
        let held = shares.acquire(&holder("a"), 4).await.unwrap();
        assert!(shares.acquire(&holder("a"), 1).now_or_never().is_none());
        assert_eq!(lock(&shares.holders).len(), 1);

        drop(held);

        assert!(lock(&shares.holders).is_empty());
    }
}
