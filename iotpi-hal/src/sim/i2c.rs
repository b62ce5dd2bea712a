//! A simulated I2C bus for any number of simulated chips, with fault injection and a record of all transfers.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use embedded_hal::{
    delay::DelayNs,
    i2c::{self, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation},
};

use super::{Fault, FaultSwitch, lock};

/// The number of transfers a bus remembers.
const MAX_TRANSFERS: usize = 1024;

/// A chip on a [`SimI2c`] bus. Most chips are a [`RegisterMap`](super::RegisterMap); implement this trait for
/// the others.
///
/// A chip with commands and a checksum:
///
/// ```
/// use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
/// use iotpi_hal::sim::I2cChip;
///
/// /// Answers the command 0x2400 with a temperature of two bytes and a checksum.
/// struct Thermometer {
///     has_measured: bool,
/// }
///
/// impl I2cChip for Thermometer {
///     fn write(&mut self, bytes: &[u8]) -> Result<(), ErrorKind> {
///         self.has_measured = bytes == [0x24, 0x00];
///         Ok(())
///     }
///
///     fn read(&mut self, buffer: &mut [u8]) -> Result<(), ErrorKind> {
///         if !self.has_measured {
///             return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address));
///         }
///         for (byte, value) in buffer.iter_mut().zip([0x62, 0x5E, 0xF1]) {
///             *byte = value;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait I2cChip: Send {
    /// Receives the bytes of one write.
    ///
    /// # Errors
    /// The chip does not acknowledge a byte.
    fn write(&mut self, bytes: &[u8]) -> Result<(), ErrorKind>;

    /// Fills the buffer of one read.
    ///
    /// # Errors
    /// The chip does not acknowledge its address, for example because it has no measurement yet.
    fn read(&mut self, buffer: &mut [u8]) -> Result<(), ErrorKind>;

    /// Time passed, because the driver waited. Not called while the chip [hangs](Fault::Hung).
    fn advance(&mut self, time: Duration) {
        let _ = time;
    }
}

/// One transaction on a [`SimI2c`] bus that a chip acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// The 7-bit address of the chip.
    pub address: u8,
    /// The bytes the driver wrote, without the address.
    pub written: Vec<u8>,
    /// The bytes the driver read.
    pub read: Vec<u8>,
}

/// A simulated I2C bus. Clones are handles of the same bus: one for the driver, one for the test.
///
/// ```
/// use embedded_hal::i2c::I2c;
/// use iotpi_hal::sim::{Fault, RegisterMap, SimI2c};
///
/// let bus = SimI2c::new().with_chip(0x48, RegisterMap::<u16>::new().read_only(0x0F, 0x0117));
/// let mut id = [0; 2];
///
/// bus.clone().write_read(0x48, &[0x0F], &mut id)?;
/// assert_eq!(id, [0x01, 0x17]);
/// assert_eq!(bus.transfers()[0].written, [0x0F]);
///
/// bus.faults().begin(Fault::Unplugged);
/// assert!(bus.clone().write_read(0x48, &[0x0F], &mut id).is_err());
/// # Ok::<(), iotpi_hal::sim::SimI2cError>(())
/// ```
#[derive(Clone, Default)]
pub struct SimI2c {
    state: Arc<Mutex<State>>,
    faults: FaultSwitch,
}

#[derive(Default)]
struct State {
    chips: BTreeMap<u8, Box<dyn I2cChip>>,
    transfers: VecDeque<Transfer>,
    /// The bytes last written to each address.
    written: HashMap<u8, Vec<u8>>,
    /// The bytes last read, by address, by the bytes written before, and by length: for [`Fault::Stuck`].
    read: HashMap<(u8, Vec<u8>, usize), Vec<u8>>,
}

/// An error of the simulated I2C bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SimI2cError(ErrorKind);

impl i2c::Error for SimI2cError {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

impl SimI2c {
    /// A bus without chips.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same bus with a chip at a 7-bit address. It replaces a chip at the same address.
    #[must_use]
    pub fn with_chip(self, address: u8, chip: impl I2cChip + 'static) -> Self {
        lock(&self.state).chips.insert(address, Box::new(chip));
        self
    }

    /// The same bus with the faults of this switch.
    #[must_use]
    pub fn with_faults(mut self, faults: FaultSwitch) -> Self {
        self.faults = faults;
        self
    }

    /// The switch of the faults of the bus and of all its chips.
    #[must_use]
    pub fn faults(&self) -> &FaultSwitch {
        &self.faults
    }

    /// The delay for the driver. It advances the time of the chips; no thread sleeps.
    #[must_use]
    pub fn delay(&self) -> SimDelay {
        SimDelay(self.clone())
    }

    /// Advances the time of all chips.
    pub fn advance(&self, time: Duration) {
        if self.faults.fault() != Some(Fault::Hung) {
            for chip in lock(&self.state).chips.values_mut() {
                chip.advance(time);
            }
        }
    }

    /// The last 1,024 acknowledged transfers, oldest first.
    #[must_use]
    pub fn transfers(&self) -> Vec<Transfer> {
        lock(&self.state).transfers.iter().cloned().collect()
    }
}

impl fmt::Debug for SimI2c {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = lock(&self.state).chips.keys().copied().collect();
        f.debug_struct("SimI2c").field("addresses", &addresses).field("faults", &self.faults).finish()
    }
}

impl ErrorType for SimI2c {
    type Error = SimI2cError;
}

impl I2c for SimI2c {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), SimI2cError> {
        let fault = self.faults.next_transfer();
        match fault {
            Some(Fault::BusLow) => return Err(SimI2cError(ErrorKind::Bus)),
            Some(Fault::Unplugged) => return Err(no_acknowledge(NoAcknowledgeSource::Address)),
            Some(Fault::Nack) => return Err(no_acknowledge(NoAcknowledgeSource::Data)),
            _ => {}
        }
        let mut transfer = Transfer { address, written: Vec::new(), read: Vec::new() };
        let mut state = lock(&self.state);
        // Operations of the same direction are one transfer without a repeated start (embedded-hal).
        for operations in
            operations.chunk_by_mut(|a, b| matches!(a, Operation::Read(_)) == matches!(b, Operation::Read(_)))
        {
            state.transfer(operations, fault, &self.faults, &mut transfer)?;
        }
        if state.transfers.len() == MAX_TRANSFERS {
            state.transfers.pop_front();
        }
        state.transfers.push_back(transfer);
        Ok(())
    }
}

impl State {
    /// Writes, or reads: all operations have the same direction.
    fn transfer(
        &mut self,
        operations: &mut [Operation<'_>],
        fault: Option<Fault>,
        faults: &FaultSwitch,
        transfer: &mut Transfer,
    ) -> Result<(), SimI2cError> {
        let address = transfer.address;
        let chip = self.chips.get_mut(&address).ok_or(no_acknowledge(NoAcknowledgeSource::Address))?;
        let mut bytes = Vec::new();
        let mut buffers = Vec::new();
        for operation in operations {
            match operation {
                Operation::Write(part) => bytes.extend_from_slice(part),
                Operation::Read(part) => buffers.push(part),
            }
        }
        if buffers.is_empty() {
            chip.write(&bytes).map_err(SimI2cError)?;
            transfer.written.extend_from_slice(&bytes);
            self.written.insert(address, bytes);
            return Ok(());
        }
        bytes.resize(buffers.iter().map(|part| part.len()).sum(), 0);
        chip.read(&mut bytes).map_err(SimI2cError)?;
        let request = (address, self.written.get(&address).cloned().unwrap_or_default(), bytes.len());
        match (fault, bytes.last_mut()) {
            (Some(Fault::Stuck), _) => bytes = self.read.entry(request).or_insert(bytes).clone(),
            (Some(Fault::AllOnes), _) => bytes.fill(0xFF),
            (Some(Fault::Noise), _) => bytes.fill_with(|| faults.random_byte()),
            (Some(Fault::Corrupt), Some(last)) => *last ^= 0x10,
            _ => {
                self.read.insert(request, bytes.clone());
            }
        }
        let mut rest = bytes.as_slice();
        for buffer in buffers {
            let (part, later) = rest.split_at(buffer.len());
            buffer.copy_from_slice(part);
            rest = later;
        }
        transfer.read.extend_from_slice(&bytes);
        Ok(())
    }
}

fn no_acknowledge(source: NoAcknowledgeSource) -> SimI2cError {
    SimI2cError(ErrorKind::NoAcknowledge(source))
}

/// The delay of a [`SimI2c`] bus: it advances the time of the chips, and no thread sleeps.
#[derive(Debug, Clone)]
pub struct SimDelay(SimI2c);

impl DelayNs for SimDelay {
    fn delay_ns(&mut self, ns: u32) {
        self.0.advance(Duration::from_nanos(ns.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::RegisterMap;

    fn bus() -> SimI2c {
        let counter = RegisterMap::<u8>::new()
            .register(0x00, 0)
            .on_read(0x00, |registers| registers.get(0x00) + 1)
            .read_only(0x01, 0xA5);
        SimI2c::new().with_chip(0x20, counter).with_chip(0x21, RegisterMap::<u8>::new())
    }

    fn read(bus: &SimI2c, register: u8) -> Result<u8, ErrorKind> {
        let mut buffer = [0];
        bus.clone().write_read(0x20, &[register], &mut buffer).map_err(|e| e.0)?;
        Ok(buffer[0])
    }

    #[test]
    fn an_address_without_a_chip_is_not_acknowledged() {
        let error = bus().write(0x22, &[0]).unwrap_err();

        assert_eq!(error, no_acknowledge(NoAcknowledgeSource::Address));
    }

    #[test]
    fn each_fault_changes_the_transfers_until_it_ends() {
        let bus = bus();
        let during = |fault| {
            bus.faults().begin(fault);
            let value = read(&bus, 0x01);
            bus.faults().end();
            value
        };

        assert_eq!(during(Fault::Unplugged), Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address)));
        assert_eq!(during(Fault::Nack), Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data)));
        assert_eq!(during(Fault::BusLow), Err(ErrorKind::Bus));
        assert_eq!(during(Fault::AllOnes), Ok(0xFF));
        assert_eq!(during(Fault::Corrupt), Ok(0xB5));
        assert_eq!(read(&bus, 0x01), Ok(0xA5));
    }

    #[test]
    fn a_stuck_chip_repeats_its_last_answer() {
        let bus = bus();
        assert_eq!([read(&bus, 0x00), read(&bus, 0x00)], [Ok(1), Ok(2)]);

        bus.faults().begin(Fault::Stuck);
        let stuck = [read(&bus, 0x00), read(&bus, 0x00)];
        bus.faults().end();

        assert_eq!(stuck, [Ok(2), Ok(2)]);
        assert_ne!(read(&bus, 0x00), Ok(2));
    }

    #[test]
    fn a_fault_can_affect_one_transfer() {
        let bus = bus();

        bus.faults().once(Fault::Nack, 1);
        let acknowledged = [read(&bus, 0x01), read(&bus, 0x01), read(&bus, 0x01)].map(|value| value.is_ok());

        assert_eq!(acknowledged, [true, false, true]);
        assert_eq!(bus.faults().transfers(), 3);
    }

    #[test]
    fn operations_of_one_direction_are_one_transfer() {
        let bus = bus();
        let (mut first, mut second) = ([0], [0]);

        let mut operations =
            [Operation::Write(&[0x01]), Operation::Read(&mut first), Operation::Read(&mut second)];
        bus.clone().transaction(0x20, &mut operations).unwrap();

        // The second byte is the next register, which is not defined.
        assert_eq!((first, second), ([0xA5], [0x00]));
        assert_eq!(
            bus.transfers(),
            [Transfer { address: 0x20, written: vec![0x01], read: vec![0xA5, 0x00] }]
        );
    }
}
