//! Reports of a lasting failure: at its beginning, then once a minute, and at its end.
//!
//! In a program without a `tracing` subscriber a report goes to standard error.

use std::{
    io::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::subscriber::NoSubscriber;

use crate::{any_error::error_chain, model::id::ModuleId, uplink::UplinkError};

/// The interval between reports of one failure.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(60);

/// A failure that lasts or not.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<Option<Began>>);

#[derive(Debug, Clone, Copy)]
struct Began {
    at: Instant,
    reported_at: Instant,
}

impl Outage {
    /// Reports the failure unless that was done less than a minute ago.
    pub(crate) fn failed(&self, module: &ModuleId, text: &str) {
        if let Some(lasted) = self.due(Instant::now()) {
            match lasted.as_secs() {
                0 => report(module, text),
                secs => report(module, &format!("{text} (for {secs} s)")),
            }
        }
    }

    /// Ends the failure, and reports that if it had begun.
    pub(crate) fn ended(&self, module: &ModuleId, text: &str) {
        if self.lock().take().is_some() {
            report(module, text);
        }
    }

    /// The duration of the failure so far, if it should be reported now.
    pub(crate) fn due(&self, now: Instant) -> Option<Duration> {
        let mut began = self.lock();
        let began = match &mut *began {
            Some(began) if now - began.reported_at < REPORT_EVERY => return None,
            Some(began) => began,
            none => none.insert(Began { at: now, reported_at: now }),
        };
        began.reported_at = now;
        Some(now - began.at)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Began>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The failures of the requests of one module to its hub.
#[derive(Debug, Default)]
pub(crate) struct HubOutages {
    absent: Outage,
    registration: Outage,
    delivery: Outage,
}

impl HubOutages {
    pub(crate) fn registration_failed(&self, module: &ModuleId, error: &UplinkError) {
        self.failed(module, &self.registration, "the hub does not register the module", error);
    }

    pub(crate) fn registered(&self, module: &ModuleId) {
        self.succeeded(module, &self.registration, "the module is registered");
    }

    pub(crate) fn delivery_failed(&self, module: &ModuleId, error: &UplinkError) {
        self.failed(module, &self.delivery, "the hub does not accept readings; they are kept", error);
    }

    pub(crate) fn delivered(&self, module: &ModuleId) {
        self.succeeded(module, &self.delivery, "the hub accepts readings again");
    }

    fn failed(&self, module: &ModuleId, purpose: &Outage, text: &str, error: &UplinkError) {
        let cause = error_chain(error);
        if let UplinkError::Problem(_) = error {
            self.present(module);
            purpose.failed(module, &format!("{text}: {cause}"));
        } else {
            self.absent.failed(module, &format!("{cause}; readings are kept"));
        }
    }

    fn succeeded(&self, module: &ModuleId, purpose: &Outage, text: &str) {
        self.present(module);
        purpose.ended(module, text);
    }

    fn present(&self, module: &ModuleId) {
        self.absent.ended(module, "the hub answers again");
    }
}

/// Logs a message, or prints it if nothing receives log messages.
pub(crate) fn report(module: &ModuleId, text: &str) {
    if tracing::dispatcher::get_default(|dispatch| dispatch.is::<NoSubscriber>()) {
        // `eprintln!` would panic if standard error is closed.
        let _ = writeln!(std::io::stderr(), "module `{module}`: {text}");
    } else {
        tracing::warn!(%module, "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_due_at_its_beginning_and_once_a_minute() {
        let (outage, start) = (Outage::default(), Instant::now());
        let at = |secs| outage.due(start + Duration::from_secs(secs)).map(|lasted| lasted.as_secs());

        let due = [0, 1, 59, 60, 61, 130].map(at);

        assert_eq!(due, [Some(0), None, None, Some(60), None, Some(130)]);
    }

    #[test]
    fn a_new_failure_is_due_at_once() {
        let (outage, start) = (Outage::default(), Instant::now());
        let module = ModuleId::new("attic").unwrap();

        outage.due(start);
        outage.ended(&module, "the hub answers");

        assert_eq!(outage.due(start + Duration::from_secs(1)), Some(Duration::ZERO));
    }
}
