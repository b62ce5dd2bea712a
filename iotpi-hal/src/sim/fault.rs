//! Faults on demand.

use std::sync::{Arc, Mutex};

use super::lock;

/// What can be wrong with a simulated device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The bus does not carry it: a byte is not acknowledged, the kernel gets no answer, a line cannot be used.
    Nack,
    /// What arrives was garbled on the way: a wrong check sum where there is one, all ones where there is none.
    Corrupt,
    /// It works, and always says the same.
    Stuck,
    /// It answers, and never finishes.
    Hung,
    /// It is not there.
    Unplugged,
}

/// Where a fault is switched on and off. Cloning shares the switch.
#[derive(Debug, Clone, Default)]
pub struct FaultSwitch(Arc<Mutex<Option<Fault>>>);

impl FaultSwitch {
    /// Begins a fault; ends the one before.
    pub fn begin(&self, fault: Fault) {
        *lock(&self.0) = Some(fault);
    }

    /// Ends the fault.
    pub fn end(&self) {
        *lock(&self.0) = None;
    }

    /// The present fault.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        *lock(&self.0)
    }
}
