//! Register access on an I2C bus, with errors of this SDK.

use embedded_hal::i2c::{I2c, Operation};
use iotpi_core::DeviceError;
#[cfg(doc)]
use iotpi_core::DeviceErrorKind;

use super::I2cCommands;

/// A chip with 8-bit register addresses on an I2C bus. Its errors are [`DeviceError`]s, so that a driver uses
/// `?`.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::I2cRegisters, sim::{RegisterMap, SimI2c}};
///
/// let bus = SimI2c::new().with_chip(0x48, RegisterMap::<u16>::new().read_only(0x0F, 0x0117));
/// let mut chip = I2cRegisters::new(bus, 0x48);
/// assert_eq!(u16::from_be_bytes(chip.read(0x0F)?), 0x0117);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct I2cRegisters<I>(I2cCommands<I>);

impl<I: I2c> I2cRegisters<I> {
    /// The chip at a 7-bit address of a bus. It does not access the bus.
    pub fn new(i2c: I, address: u8) -> Self {
        Self(I2cCommands::new(i2c, address))
    }

    /// The 7-bit address of the chip.
    pub fn address(&self) -> u8 {
        self.0.address()
    }

    /// Returns the bus.
    pub fn release(self) -> I {
        self.0.release()
    }

    /// Reads `N` bytes, beginning at a register.
    ///
    /// # Errors
    /// [`DeviceErrorKind::NotFound`] when no chip answers, [`DeviceErrorKind::Bus`] when the transfer failed.
    pub fn read<const N: usize>(&mut self, register: u8) -> Result<[u8; N], DeviceError> {
        let mut bytes = [0; N];
        self.0.transaction(&mut [Operation::Write(&[register]), Operation::Read(&mut bytes)])?;
        Ok(bytes)
    }

    /// Writes bytes, beginning at a register.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write<const N: usize>(&mut self, register: u8, bytes: [u8; N]) -> Result<(), DeviceError> {
        self.0.transaction(&mut [Operation::Write(&[register]), Operation::Write(&bytes)])
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use super::*;
    use crate::sim::{RegisterMap, SimI2c};

    #[test]
    fn a_write_is_one_transfer_of_register_and_bytes() {
        let bus = SimI2c::new().with_chip(0x40, RegisterMap::<u16>::new().register(0x05, 0));

        I2cRegisters::new(bus.clone(), 0x40).write(0x05, 0x1234_u16.to_be_bytes()).unwrap();

        assert_eq!(bus.transfers().len(), 1);
        assert_eq!(bus.transfers()[0].written, [0x05, 0x12, 0x34]);
    }
}
