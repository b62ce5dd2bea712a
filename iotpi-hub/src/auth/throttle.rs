//! Failed logins by network: ten a minute, then wait.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::Mutex,
    time::Duration,
};

use crate::{
    error::{HubError, Result},
    lock::lock,
};

const FAILURES: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// More networks than this failing within one minute are an attack: the table does not grow further.
const MAX_NETWORKS: usize = 10_000;

/// Counts failed attempts for each network address, a /64 in IPv6.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    failed: Mutex<HashMap<IpAddr, VecDeque<Duration>>>,
}

impl Throttle {
    /// Counts an attempt as failed before it is made, so that many at once do not slip through; [`Self::succeeded`]
    /// takes it back. `now` is monotonic.
    pub(crate) fn attempt(&self, from: IpAddr, now: Duration) -> Result<()> {
        let mut failed = lock(&self.failed);
        let network = network(from);
        if failed.len() >= MAX_NETWORKS && !failed.contains_key(&network) {
            failed.retain(|_, times| times.back().is_some_and(|t| now.saturating_sub(*t) < WINDOW));
            if failed.len() >= MAX_NETWORKS {
                return Err(too_many(WINDOW));
            }
        }
        let times = failed.entry(network).or_default();
        while times.front().is_some_and(|t| now.saturating_sub(*t) >= WINDOW) {
            times.pop_front();
        }
        match times.front() {
            Some(first) if times.len() >= FAILURES => {
                Err(too_many(WINDOW.saturating_sub(now.saturating_sub(*first))))
            }
            _ => {
                times.push_back(now);
                Ok(())
            }
        }
    }

    /// The last attempt was a good one.
    pub(crate) fn succeeded(&self, from: IpAddr) {
        let mut failed = lock(&self.failed);
        let network = network(from);
        if let Some(times) = failed.get_mut(&network) {
            times.pop_back();
            if times.is_empty() {
                failed.remove(&network);
            }
        }
    }
}

fn too_many(wait: Duration) -> HubError {
    HubError::rate_limited("too many failed attempts from this network; wait a minute").retry_after(wait)
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

    #[test]
    fn the_eleventh_failure_in_a_minute_waits_for_the_first_to_be_a_minute_old() {
        let throttle = Throttle::default();
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let at = Duration::from_secs;
        for i in 0..10 {
            throttle.attempt(here, at(i)).unwrap();
        }

        let refused = throttle.attempt(here, at(10)).unwrap_err();

        assert_eq!(refused.wait(), Some(at(50)));
        assert!(throttle.attempt("192.0.2.2".parse().unwrap(), at(10)).is_ok());
        assert!(throttle.attempt(here, at(60)).is_ok());
        assert!(throttle.attempt(here, at(60)).is_err());
    }

    #[test]
    fn a_success_is_not_a_failure() {
        let throttle = Throttle::default();
        let here: IpAddr = "192.0.2.1".parse().unwrap();

        for _ in 0..100 {
            throttle.attempt(here, Duration::ZERO).unwrap();
            throttle.succeeded(here);
        }
    }

    #[test]
    fn neighbours_of_one_ipv6_network_count_as_one() {
        let of = |text: &str| network(text.parse().unwrap());

        assert_eq!(of("2001:db8:0:1::5"), of("2001:db8:0:1:ffff::9"));
        assert_ne!(of("2001:db8:0:1::5"), of("2001:db8:0:2::5"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
