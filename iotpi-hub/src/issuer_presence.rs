//! The presence of sessions and tokens, for commands whose effect depends on their issuer: in memory, in
//! steady time.
//!
//! A session or token is present at each of its requests, and while it has a live connection that answers.
//! After a restart of the hub none is present. Deliberately absent: people. A person with two browsers has
//! two sessions, and closing the one that switched the heater on counts as leaving.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{lock::lock, store::Steady};

/// A live connection is pinged every 20 s; one that was silent for longer than this is no evidence of
/// presence, even if it is open: a network that was cut closes nothing.
const LINE_SPEAKS_WITHIN: Duration = Duration::from_secs(25);
/// No limit is longer, so longer absences are of no interest.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// The number of entries from which those absent for long are dropped.
const MANY: usize = 1024;

/// The presence of all issuers.
#[derive(Debug, Default)]
pub(crate) struct IssuerPresence {
    seen: Mutex<HashMap<String, LastContact>>,
}

#[derive(Debug)]
struct LastContact {
    at: Steady,
    lines: u32,
}

impl LastContact {
    /// The last evidence of presence, as known now.
    fn last(&self, now: Steady) -> Steady {
        match self.lines {
            0 => self.at,
            _ => now.min(Steady(self.at.0.plus(LINE_SPEAKS_WITHIN))),
        }
    }
}

impl IssuerPresence {
    /// Records a request of the issuer, or activity on its live connection.
    pub(crate) fn seen(&self, issuer: &str, now: Steady) {
        let mut all = lock(&self.seen);
        match all.get_mut(issuer) {
            Some(seen) => seen.at = now,
            None => {
                if all.len() >= MANY {
                    all.retain(|_, seen| seen.lines > 0 || now.0.since(seen.at.0) < REMEMBERED);
                }
                all.insert(issuer.to_owned(), LastContact { at: now, lines: 0 });
            }
        }
    }

    /// Records an open live connection, until the returned value is dropped.
    pub(crate) fn line(self: &Arc<Self>, issuer: &str, now: Steady) -> LiveConnection {
        self.seen(issuer, now);
        if let Some(seen) = lock(&self.seen).get_mut(issuer) {
            seen.lines += 1;
        }
        LiveConnection { issuers: Arc::clone(self), issuer: issuer.to_owned() }
    }

    /// The time for which the issuer still counts as present if it may be absent for `limit`; zero if it was
    /// absent for longer, or was not present since the hub started.
    pub(crate) fn alive_for(&self, issuer: &str, limit: Duration, now: Steady) -> Duration {
        lock(&self.seen)
            .get(issuer)
            .map_or(Duration::ZERO, |seen| limit.saturating_sub(now.0.since(seen.last(now).0)))
    }
}

/// An open live connection of an issuer.
#[derive(Debug)]
pub(crate) struct LiveConnection {
    issuers: Arc<IssuerPresence>,
    issuer: String,
}

impl LiveConnection {
    /// Records activity on the connection.
    pub(crate) fn heard(&self, now: Steady) {
        self.issuers.seen(&self.issuer, now);
    }

    /// Records that the connection was closed or broke: the issuer was present until now, as far as is known.
    pub(crate) fn closed(&self, now: Steady) {
        let last = lock(&self.issuers.seen).get(&self.issuer).map(|seen| seen.last(now));
        if let Some(last) = last {
            self.issuers.seen(&self.issuer, last);
        }
    }
}

impl Drop for LiveConnection {
    fn drop(&mut self) {
        if let Some(seen) = lock(&self.issuers.seen).get_mut(&self.issuer) {
            seen.lines = seen.lines.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use iotpi_core::Timestamp;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn at(secs: u64) -> Steady {
        Steady(Timestamp::from_micros(1_795_472_000_000_000).plus(Duration::from_secs(secs)))
    }

    fn left(issuers: &IssuerPresence, secs: u64) -> u64 {
        issuers.alive_for("anna", LIMIT, at(secs)).as_secs()
    }

    #[test]
    fn who_makes_requests_is_there_and_is_gone_when_the_limit_is_over() {
        let issuers = IssuerPresence::default();

        assert_eq!(left(&issuers, 0), 0);
        issuers.seen("anna", at(0));
        assert_eq!(
            [left(&issuers, 0), left(&issuers, 4), left(&issuers, 10), left(&issuers, 99)],
            [10, 6, 0, 0]
        );
        issuers.seen("anna", at(99));
        assert_eq!(left(&issuers, 100), 9);
        assert_eq!(issuers.alive_for("bob", LIMIT, at(99)), Duration::ZERO);
    }

    #[test]
    fn an_open_line_is_there_as_long_as_it_is_heard() {
        let issuers = Arc::new(IssuerPresence::default());

        let line = issuers.line("anna", at(0));
        assert_eq!(
            [left(&issuers, 0), left(&issuers, 25), left(&issuers, 30), left(&issuers, 35)],
            [10, 10, 5, 0]
        );
        line.heard(at(40));
        assert_eq!(left(&issuers, 60), 10);
        line.closed(at(60));
        drop(line);
        assert_eq!([left(&issuers, 60), left(&issuers, 69), left(&issuers, 70)], [10, 1, 0]);
    }

    #[test]
    fn one_of_two_lines_is_enough() {
        let issuers = Arc::new(IssuerPresence::default());
        let (first, second) = (issuers.line("anna", at(0)), issuers.line("anna", at(0)));

        drop(first);
        assert_eq!(left(&issuers, 20), 10);
        drop(second);
        assert_eq!(left(&issuers, 20), 0);
    }

    #[test]
    fn those_long_gone_are_forgotten() {
        let issuers = IssuerPresence::default();
        for n in 0..MANY {
            issuers.seen(&n.to_string(), at(0));
        }

        issuers.seen("anna", at(3600));

        assert_eq!(lock(&issuers.seen).len(), 1);
    }
}
