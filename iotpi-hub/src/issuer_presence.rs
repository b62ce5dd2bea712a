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
const MAX_SILENCE: Duration = Duration::from_secs(25);
/// No limit is longer, so longer absences are of no interest.
const MAX_ABSENCE: Duration = Duration::from_secs(3600);
/// The number of entries from which those absent for long are dropped.
const PRUNE_FROM: usize = 1024;

/// The presence of all issuers.
#[derive(Debug, Default)]
pub(crate) struct IssuerPresence {
    issuers: Mutex<HashMap<String, LastContact>>,
}

#[derive(Debug)]
struct LastContact {
    at: Steady,
    connections: u32,
}

impl LastContact {
    /// The last evidence of presence, as known now.
    fn last(&self, now: Steady) -> Steady {
        match self.connections {
            0 => self.at,
            _ => now.min(Steady(self.at.0.plus(MAX_SILENCE))),
        }
    }
}

impl IssuerPresence {
    /// Records a request of the issuer, or activity on its live connection.
    pub(crate) fn touch(&self, issuer: &str, now: Steady) {
        let mut all = lock(&self.issuers);
        match all.get_mut(issuer) {
            Some(contact) => contact.at = now,
            None => {
                if all.len() >= PRUNE_FROM {
                    all.retain(|_, contact| {
                        contact.connections > 0 || now.0.since(contact.at.0) < MAX_ABSENCE
                    });
                }
                all.insert(issuer.to_owned(), LastContact { at: now, connections: 0 });
            }
        }
    }

    /// Records an open live connection, until the returned value is dropped.
    pub(crate) fn connect(self: &Arc<Self>, issuer: &str, now: Steady) -> LiveConnection {
        self.touch(issuer, now);
        if let Some(contact) = lock(&self.issuers).get_mut(issuer) {
            contact.connections += 1;
        }
        LiveConnection { issuers: Arc::clone(self), issuer: issuer.to_owned() }
    }

    /// The time for which the issuer still counts as present if it may be absent for `limit`; zero if it was
    /// absent for longer, or was not present since the hub started.
    pub(crate) fn alive_for(&self, issuer: &str, limit: Duration, now: Steady) -> Duration {
        lock(&self.issuers)
            .get(issuer)
            .map_or(Duration::ZERO, |contact| limit.saturating_sub(now.0.since(contact.last(now).0)))
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
    pub(crate) fn touch(&self, now: Steady) {
        self.issuers.touch(&self.issuer, now);
    }

    /// Records that the connection was closed or broke: the issuer was present until now, as far as is known.
    pub(crate) fn closed(&self, now: Steady) {
        let last = lock(&self.issuers.issuers).get(&self.issuer).map(|contact| contact.last(now));
        if let Some(last) = last {
            self.issuers.touch(&self.issuer, last);
        }
    }
}

impl Drop for LiveConnection {
    fn drop(&mut self) {
        if let Some(contact) = lock(&self.issuers.issuers).get_mut(&self.issuer) {
            contact.connections = contact.connections.saturating_sub(1);
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
    fn an_issuer_is_present_from_its_last_request_to_the_limit() {
        let issuers = IssuerPresence::default();

        assert_eq!(left(&issuers, 0), 0);
        issuers.touch("anna", at(0));
        assert_eq!(
            [left(&issuers, 0), left(&issuers, 4), left(&issuers, 10), left(&issuers, 99)],
            [10, 6, 0, 0]
        );
        issuers.touch("anna", at(99));
        assert_eq!(left(&issuers, 100), 9);
        assert_eq!(issuers.alive_for("bob", LIMIT, at(99)), Duration::ZERO);
    }

    #[test]
    fn an_issuer_is_present_while_its_connection_is_active() {
        let issuers = Arc::new(IssuerPresence::default());

        let connection = issuers.connect("anna", at(0));
        assert_eq!(
            [left(&issuers, 0), left(&issuers, 25), left(&issuers, 30), left(&issuers, 35)],
            [10, 10, 5, 0]
        );
        connection.touch(at(40));
        assert_eq!(left(&issuers, 60), 10);
        connection.closed(at(60));
        drop(connection);
        assert_eq!([left(&issuers, 60), left(&issuers, 69), left(&issuers, 70)], [10, 1, 0]);
    }

    #[test]
    fn one_of_two_connections_is_enough() {
        let issuers = Arc::new(IssuerPresence::default());
        let (first, second) = (issuers.connect("anna", at(0)), issuers.connect("anna", at(0)));

        drop(first);
        assert_eq!(left(&issuers, 20), 10);
        drop(second);
        assert_eq!(left(&issuers, 20), 0);
    }

    #[test]
    fn issuers_absent_for_long_are_removed() {
        let issuers = IssuerPresence::default();
        for n in 0..PRUNE_FROM {
            issuers.touch(&n.to_string(), at(0));
        }

        issuers.touch("anna", at(3600));

        assert_eq!(lock(&issuers.issuers).len(), 1);
    }
}
