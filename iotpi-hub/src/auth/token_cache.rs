//! A cache of verified tokens, so that the frames of a camera do not each query the database, and a counter
//! of revocations.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use tokio::sync::watch;

use crate::{
    auth::{Caller, Issuer},
    lock::lock,
    store::Steady,
};

/// How long a verified credential stays valid without another query. A revocation by another process takes
/// effect within this time, a revocation through the hub at once.
const TTL: Duration = Duration::from_secs(1);
/// The most entries; expired ones are then removed.
const MAX_ENTRIES: usize = 1024;

/// The callers of tokens that were verified less than a second ago.
#[derive(Debug)]
pub(crate) struct TokenCache {
    callers: Mutex<HashMap<Issuer, (Caller, Steady)>>,
    /// Incremented by each revocation.
    revision: watch::Sender<u64>,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self { callers: Mutex::default(), revision: watch::Sender::new(0) }
    }
}

impl TokenCache {
    /// The caller of a credential that was verified less than a second ago.
    pub(crate) fn get(&self, issuer: &Issuer, now: Steady) -> Option<Caller> {
        lock(&self.callers).get(issuer).filter(|(_, at)| is_fresh(*at, now)).map(|(caller, _)| caller.clone())
    }

    /// Inserts a caller that was looked up at `revision`, unless a credential was revoked since.
    pub(crate) fn insert(&self, issuer: Issuer, caller: &Caller, now: Steady, revision: u64) {
        let mut all = lock(&self.callers);
        if revision != self.revision() {
            return;
        }
        if all.len() >= MAX_ENTRIES {
            all.retain(|_, (_, at)| is_fresh(*at, now));
        }
        if all.len() < MAX_ENTRIES {
            all.insert(issuer, (caller.clone(), now));
        }
    }

    /// Clears the cache after a revocation, and wakes the tasks that hold an authorization.
    pub(crate) fn invalidate(&self) {
        let mut all = lock(&self.callers);
        all.clear();
        self.revision.send_modify(|revision| *revision += 1);
    }

    /// The number of revocations so far.
    pub(crate) fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// A receiver of the number of revocations.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}

fn is_fresh(at: Steady, now: Steady) -> bool {
    now.0.since(at.0) < TTL
}

#[cfg(test)]
mod tests {
    use iotpi_core::{Timestamp, model::id::UserName};

    use super::*;
    use crate::auth::Role;

    fn at(ms: u64) -> Steady {
        Steady(Timestamp::MIN.plus(Duration::from_millis(ms)))
    }

    fn anna() -> Caller {
        Caller::known(UserName::new("anna").unwrap(), Role::Operator, None)
    }

    #[test]
    fn a_token_is_cached_for_a_second_or_until_a_revocation() {
        let cache = TokenCache::default();
        let token = Issuer::Token([1; 32]);
        assert_eq!(cache.get(&token, at(0)), None);

        cache.insert(token, &anna(), at(0), 0);

        assert_eq!(cache.get(&token, at(999)), Some(anna()));
        assert_eq!(cache.get(&Issuer::Token([2; 32]), at(0)), None);
        assert_eq!(cache.get(&Issuer::Session([1; 32]), at(0)), None, "another kind with the same secret");
        assert_eq!(cache.get(&token, at(1000)), None);
        cache.insert(token, &anna(), at(1000), 0);
        cache.invalidate();
        assert_eq!(cache.get(&token, at(1000)), None);
    }

    #[test]
    fn a_caller_looked_up_before_a_revocation_is_not_inserted_after_it() {
        let cache = TokenCache::default();
        let before = cache.revision();

        cache.invalidate();
        cache.insert(Issuer::Token([1; 32]), &anna(), at(0), before);

        assert_eq!(cache.get(&Issuer::Token([1; 32]), at(0)), None);
    }

    #[test]
    fn very_many_tokens_do_not_fill_the_memory() {
        let cache = TokenCache::default();

        for i in 0..5000_u32 {
            let mut secret = [0; 32];
            secret[..4].copy_from_slice(&i.to_be_bytes());
            cache.insert(Issuer::Token(secret), &anna(), at(u64::from(i)), 0);
        }

        assert!(lock(&cache.callers).len() <= MAX_ENTRIES);
    }
}
