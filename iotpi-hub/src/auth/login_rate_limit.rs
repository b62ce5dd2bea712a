//! The rate limit of failed logins: ten a minute for one account from one network, and 100 a minute from one
//! network.
//!
//! Both limits count the attempts of one network, so no network can lock out another. Deliberately absent: a
//! limit for an account across all networks, which would let a stranger lock out its owner.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::Mutex,
    time::Duration,
};

use iotpi_core::model::id::UserName;

use crate::{
    error::{HubError, Result},
    lock::lock,
};

const MAX_ACCOUNT_FAILURES: usize = 10;
const MAX_NETWORK_FAILURES: usize = 100;
const WINDOW: Duration = Duration::from_secs(60);
/// The most entries of the table. More accounts and networks that fail within one minute are an attack.
const MAX_ENTRIES: usize = 10_000;

/// The account that an attempt concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LoginTarget {
    /// A login with that name, whether the user exists or not.
    Account(UserName),
    /// The creation of the first admin.
    FirstAdmin,
}

impl std::fmt::Display for LoginTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Account(name) => name.fmt(f),
            Self::FirstAdmin => f.write_str("the first admin"),
        }
    }
}

/// Counts failed attempts by network address, a /64 in IPv6.
#[derive(Debug, Default)]
pub(crate) struct LoginRateLimit {
    failed: Mutex<HashMap<Key, VecDeque<Duration>>>,
}

/// A network and an account, or all accounts of the network.
type Key = (IpAddr, Option<LoginTarget>);

impl LoginRateLimit {
    /// Counts an attempt as failed in advance, so that concurrent attempts cannot exceed the limit.
    /// [`Self::succeeded`] undoes it. `now` is monotonic.
    pub(crate) fn attempt(&self, from: IpAddr, target: &LoginTarget, now: Duration) -> Result<()> {
        let mut failed = lock(&self.failed);
        let keys = keys(from, target);
        if failed.len() + keys.len() > MAX_ENTRIES && keys.iter().any(|(key, _)| !failed.contains_key(key)) {
            failed.retain(|_, times| times.back().is_some_and(|t| now.saturating_sub(*t) < WINDOW));
            if failed.len() + keys.len() > MAX_ENTRIES {
                return Err(too_many(WINDOW));
            }
        }
        for (key, limit) in &keys {
            let Some(times) = failed.get_mut(key) else { continue };
            while times.front().is_some_and(|t| now.saturating_sub(*t) >= WINDOW) {
                times.pop_front();
            }
            if let Some(first) = times.front().filter(|_| times.len() >= *limit) {
                return Err(too_many(WINDOW.saturating_sub(now.saturating_sub(*first))));
            }
        }
        for (key, _) in keys {
            failed.entry(key).or_default().push_back(now);
        }
        Ok(())
    }

    /// Undoes the count of the last attempt after it succeeded.
    pub(crate) fn succeeded(&self, from: IpAddr, target: &LoginTarget) {
        let mut failed = lock(&self.failed);
        for (key, _) in keys(from, target) {
            if let Some(times) = failed.get_mut(&key) {
                times.pop_back();
                if times.is_empty() {
                    failed.remove(&key);
                }
            }
        }
    }
}

/// The entries that an attempt counts for, each with its limit.
fn keys(from: IpAddr, target: &LoginTarget) -> [(Key, usize); 2] {
    let network = network(from);
    [((network, Some(target.clone())), MAX_ACCOUNT_FAILURES), ((network, None), MAX_NETWORK_FAILURES)]
}

fn too_many(wait: Duration) -> HubError {
    HubError::rate_limited(
        "Too many failed attempts from this network. Wait for the time in `retry_after_secs`.",
    )
    .retry_after(wait)
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> LoginTarget {
        LoginTarget::Account(UserName::new(name).unwrap())
    }

    #[test]
    fn the_eleventh_failure_in_a_minute_waits_for_the_first_to_be_a_minute_old() {
        let limit = LoginRateLimit::default();
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let at = Duration::from_secs;
        for i in 0..10 {
            limit.attempt(here, &account("anna"), at(i)).unwrap();
        }

        let refused = limit.attempt(here, &account("anna"), at(10)).unwrap_err();

        assert_eq!(refused.wait(), Some(at(50)));
        assert!(limit.attempt("192.0.2.2".parse().unwrap(), &account("anna"), at(10)).is_ok());
        assert!(limit.attempt(here, &account("bert"), at(10)).is_ok());
        assert!(limit.attempt(here, &LoginTarget::FirstAdmin, at(10)).is_ok());
        assert!(limit.attempt(here, &account("anna"), at(60)).is_ok());
        assert!(limit.attempt(here, &account("anna"), at(60)).is_err());
    }

    #[test]
    fn attempts_on_many_accounts_are_limited_after_100_failures() {
        let limit = LoginRateLimit::default();
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        for i in 0..100 {
            limit.attempt(here, &account(&format!("user-{i}")), Duration::ZERO).unwrap();
        }

        assert!(limit.attempt(here, &account("anna"), Duration::from_secs(59)).is_err());
        assert!(limit.attempt("192.0.2.2".parse().unwrap(), &account("anna"), Duration::ZERO).is_ok());
        assert!(limit.attempt(here, &account("anna"), Duration::from_secs(60)).is_ok());
    }

    #[test]
    fn a_success_is_not_a_failure() {
        let limit = LoginRateLimit::default();
        let here: IpAddr = "192.0.2.1".parse().unwrap();

        for _ in 0..200 {
            limit.attempt(here, &account("anna"), Duration::ZERO).unwrap();
            limit.succeeded(here, &account("anna"));
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let limit = LoginRateLimit::default();

        for i in 0..20_000_u32 {
            let _ = limit.attempt(IpAddr::from(i.to_be_bytes()), &account("anna"), Duration::ZERO);
        }

        assert!(lock(&limit.failed).len() <= MAX_ENTRIES);
        let later = limit.attempt("192.0.2.1".parse().unwrap(), &account("anna"), Duration::from_secs(61));
        assert!(later.is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let of = |text: &str| network(text.parse().unwrap());

        assert_eq!(of("2001:db8:0:1::5"), of("2001:db8:0:1:ffff::9"));
        assert_ne!(of("2001:db8:0:1::5"), of("2001:db8:0:2::5"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
