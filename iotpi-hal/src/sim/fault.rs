//! Fault injection for simulated devices.

use std::sync::{Arc, Mutex};

use super::{lock, unit};

/// A fault of a simulated device or of its bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The device is not connected: its address is not acknowledged, its file is missing, an input floats low.
    Unplugged,
    /// The transfer fails: a data byte is not acknowledged, the kernel gets no answer, a pin cannot be used.
    Nack,
    /// A line of the bus is held low: no transfer is possible, with any device.
    BusLow,
    /// Every byte that is read is `0xFF`: the data line floats high. An input is high.
    AllOnes,
    /// One bit of the last byte of each read is inverted: a wrong checksum, if the device sends one.
    Corrupt,
    /// Every byte that is read is random, as is the level of an input.
    Noise,
    /// The device answers and never finishes a measurement.
    Hung,
    /// The device answers every read as it did before the fault (a stuck-at fault).
    Stuck,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 8] = [
        Self::Unplugged,
        Self::Nack,
        Self::BusLow,
        Self::AllOnes,
        Self::Corrupt,
        Self::Noise,
        Self::Hung,
        Self::Stuck,
    ];
}

/// A switch that turns the faults of a simulated device on and off. Clones share the switch.
///
/// ```
/// use iotpi_hal::sim::{Fault, FaultSwitch};
///
/// let faults = FaultSwitch::default();
/// faults.once(Fault::Nack, 1);
/// assert_eq!(faults.next_transfer(), None);
/// assert_eq!(faults.next_transfer(), Some(Fault::Nack));
/// assert_eq!(faults.next_transfer(), None);
/// ```
#[derive(Debug, Clone, Default)]
pub struct FaultSwitch(Arc<Mutex<Faults>>);

#[derive(Debug, Default)]
struct Faults {
    present: Option<Fault>,
    /// A fault of one transfer, and the number of transfers before it.
    once: Option<(Fault, u64)>,
    transfers: u64,
    random_bytes: i64,
}

impl FaultSwitch {
    /// Turns a fault on. It replaces the present one.
    pub fn begin(&self, fault: Fault) {
        lock(&self.0).present = Some(fault);
    }

    /// Turns the present fault off, and cancels one that [`once`](Self::once) scheduled.
    pub fn end(&self) {
        let mut faults = lock(&self.0);
        (faults.present, faults.once) = (None, None);
    }

    /// Injects a fault into one transfer: the one after the next `skip` transfers.
    pub fn once(&self, fault: Fault, skip: u64) {
        lock(&self.0).once = Some((fault, skip));
    }

    /// The present fault.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        lock(&self.0).present
    }

    /// Counts a transfer, and returns its fault. A simulated bus calls it once for each transfer.
    #[must_use]
    pub fn next_transfer(&self) -> Option<Fault> {
        let mut faults = lock(&self.0);
        faults.transfers += 1;
        match &mut faults.once {
            Some((fault, 0)) => {
                let fault = *fault;
                faults.once = None;
                Some(fault)
            }
            Some((_, skip)) => {
                *skip -= 1;
                faults.present
            }
            None => faults.present,
        }
    }

    /// The number of transfers since the switch was created.
    #[must_use]
    pub fn transfers(&self) -> u64 {
        lock(&self.0).transfers
    }

    /// The next byte of [`Fault::Noise`]; the sequence of a switch is always the same.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn random_byte(&self) -> u8 {
        let mut faults = lock(&self.0);
        faults.random_bytes += 1;
        (unit(1, 30, faults.random_bytes) * 256.0) as u8
    }
}
