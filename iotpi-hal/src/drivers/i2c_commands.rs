//! Transfers with a chip on an I2C bus, with errors of this SDK.

use embedded_hal::i2c::{Error as _, ErrorKind, I2c, NoAcknowledgeSource, Operation};
use iotpi_core::DeviceError;
#[cfg(doc)]
use iotpi_core::DeviceErrorKind;

/// A chip with commands instead of registers on an I2C bus. Its errors are [`DeviceError`]s, so that a driver
/// uses `?`.
///
/// Many adapters do not report whether the address or a data byte was not acknowledged. As long as the chip
/// has not answered, and after the first such error, it counts as [missing](DeviceErrorKind::NotFound);
/// otherwise the error is one of the [bus](DeviceErrorKind::Bus), for example a disturbance.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use std::time::Duration;
/// use iotpi_hal::{drivers::I2cCommands, sim::{CommandChip, SimI2c}};
///
/// let chip = CommandChip::new().on([0xE7], Duration::ZERO, |_| vec![0x3A]);
/// let mut chip = I2cCommands::new(SimI2c::new().with_chip(0x40, chip), 0x40);
/// chip.write(&[0xE7])?;
/// assert_eq!(chip.read()?, [0x3A]);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct I2cCommands<I> {
    i2c: I,
    address: u8,
    has_answered: bool,
}

impl<I: I2c> I2cCommands<I> {
    /// The chip at a 7-bit address of a bus. It does not access the bus.
    pub fn new(i2c: I, address: u8) -> Self {
        Self { i2c, address, has_answered: false }
    }

    /// The 7-bit address of the chip.
    pub fn address(&self) -> u8 {
        self.address
    }

    /// Returns the bus.
    pub fn release(self) -> I {
        self.i2c
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// [`DeviceErrorKind::NotFound`] when no chip answers, [`DeviceErrorKind::Bus`] when the transfer failed.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DeviceError> {
        self.transaction(&mut [Operation::Write(bytes)])
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn read<const N: usize>(&mut self) -> Result<[u8; N], DeviceError> {
        let mut bytes = [0; N];
        self.transaction(&mut [Operation::Read(&mut bytes)])?;
        Ok(bytes)
    }

    /// Runs several operations as one transfer.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn transaction(&mut self, operations: &mut [Operation<'_>]) -> Result<(), DeviceError> {
        let transferred = self.i2c.transaction(self.address, operations);
        let had_answered = std::mem::replace(&mut self.has_answered, transferred.is_ok());
        transferred.map_err(|error| match error.kind() {
            ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown) if !had_answered => {
                DeviceError::bus(self.address, &ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address))
            }
            _ => DeviceError::bus(self.address, &error),
        })
    }
}

#[cfg(test)]
mod tests {
    use embedded_hal::i2c::ErrorType;
    use iotpi_core::DeviceErrorKind;

    use super::*;

    /// An adapter that does not report which byte was not acknowledged. Transfers fail while `absent`.
    struct Adapter {
        absent: bool,
        written: Vec<u8>,
    }

    impl ErrorType for Adapter {
        type Error = ErrorKind;
    }

    impl I2c for Adapter {
        fn transaction(&mut self, _address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
            if self.absent {
                return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown));
            }
            for operation in operations {
                if let Operation::Write(bytes) = operation {
                    self.written.extend_from_slice(bytes);
                }
            }
            Ok(())
        }
    }

    #[test]
    fn a_chip_that_never_answered_is_missing_and_one_that_stops_answering_has_a_bus_error_first() {
        let mut chip = I2cCommands::new(Adapter { absent: true, written: Vec::new() }, 0x40);
        let kind = |chip: &mut I2cCommands<Adapter>| chip.read::<1>().map_err(|e| e.kind());

        let never = kind(&mut chip);
        chip.i2c.absent = false;
        let present = kind(&mut chip);
        chip.i2c.absent = true;
        let gone = [kind(&mut chip), kind(&mut chip)];

        assert_eq!((never, present), (Err(DeviceErrorKind::NotFound), Ok([0])));
        assert_eq!(gone, [Err(DeviceErrorKind::Bus), Err(DeviceErrorKind::NotFound)]);
    }
}
