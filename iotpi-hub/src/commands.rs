//! The state of the command operations between calls. The commands themselves are in the store.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use iotpi_core::ModuleId;
use tokio::sync::Notify;

use crate::{lock::lock, schema::Checker, store::Steady};

/// The modules that wait for commands, and the next lease or lifetime that ends.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    /// Notified when a module may have a command to claim.
    submitted: Mutex<HashMap<ModuleId, Arc<Notify>>>,
    /// Checks parameters against the schemas of actions.
    pub(crate) checker: Arc<Checker>,
    /// The time at which the next lease or lifetime ends.
    due: Mutex<Option<Steady>>,
    /// Notified when `due` has become earlier.
    pub(crate) due_changed: Notify,
}

impl Commands {
    /// Removes a module; its waiting claims are notified.
    pub(crate) fn forget(&self, id: &ModuleId) {
        self.checker.forget(id);
        if let Some(submitted) = lock(&self.submitted).remove(id) {
            submitted.notify_waiters();
        }
    }

    /// Notified when the module may have a command to claim.
    pub(crate) fn submitted(&self, id: &ModuleId) -> Arc<Notify> {
        Arc::clone(lock(&self.submitted).entry(id.clone()).or_default())
    }

    /// Notifies the waiting claims of a module.
    pub(crate) fn notify(&self, id: &ModuleId) {
        if let Some(submitted) = lock(&self.submitted).get(id) {
            submitted.notify_waiters();
        }
    }

    /// The time of the next scheduled expiry.
    pub(crate) fn due(&self) -> Option<Steady> {
        *lock(&self.due)
    }

    /// Forgets the scheduled expiry, which is being carried out.
    pub(crate) fn clear_due(&self) {
        *lock(&self.due) = None;
    }

    /// Schedules an expiry at this time, unless an earlier one is scheduled.
    pub(crate) fn expect(&self, at: Steady) {
        let mut due = lock(&self.due);
        if due.is_none_or(|due| at < due) {
            *due = Some(at);
            self.due_changed.notify_one();
        }
    }
}
