//! Fault injection for simulated devices.

use std::sync::{Arc, Mutex};

use super::lock;

/// A fault of a simulated device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The transfer fails: a byte is not acknowledged, the kernel gets no answer, a line cannot be used.
    Nack,
    /// The data is corrupted on the bus: a wrong checksum where there is one, all ones where there is none.
    Corrupt,
    /// The device works and always returns the same value.
    Stuck,
    /// The device answers and never finishes a measurement.
    Hung,
    /// The device is not connected.
    Unplugged,
}

/// A switch that turns faults on and off. Clones share the switch.
#[derive(Debug, Clone, Default)]
pub struct FaultSwitch(Arc<Mutex<Option<Fault>>>);

impl FaultSwitch {
    /// Turns a fault on. It replaces the present one.
    pub fn begin(&self, fault: Fault) {
        *lock(&self.0) = Some(fault);
    }

    /// Turns the fault off.
    pub fn end(&self) {
        *lock(&self.0) = None;
    }

    /// The present fault.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        *lock(&self.0)
    }
}
