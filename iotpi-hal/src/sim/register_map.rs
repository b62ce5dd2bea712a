//! A simulated chip with registers, described by its register table.

use std::{collections::BTreeMap, fmt, time::Duration};

use embedded_hal::i2c::ErrorKind;

use super::I2cChip;

/// The width of a register: `u8` or `u16`.
pub trait RegisterValue: Copy + Default + Send + sealed::Sealed + 'static {
    /// The number of bytes of a register.
    #[doc(hidden)]
    const BYTES: usize;
    /// The bytes of a value, most significant first; the last [`BYTES`](Self::BYTES) count.
    #[doc(hidden)]
    fn to_bytes(self) -> [u8; 2];
    #[doc(hidden)]
    fn from_bytes(bytes: [u8; 2]) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
}

impl RegisterValue for u8 {
    const BYTES: usize = 1;

    fn to_bytes(self) -> [u8; 2] {
        [0, self]
    }

    fn from_bytes([_, byte]: [u8; 2]) -> Self {
        byte
    }
}

impl RegisterValue for u16 {
    const BYTES: usize = 2;

    fn to_bytes(self) -> [u8; 2] {
        self.to_be_bytes()
    }

    fn from_bytes(bytes: [u8; 2]) -> Self {
        Self::from_be_bytes(bytes)
    }
}

type Timer<V> = Box<dyn FnOnce(&mut Registers<V>) + Send>;
type ReadHook<V> = Box<dyn FnMut(&mut Registers<V>) -> V + Send>;
type WriteHook<V> = Box<dyn FnMut(&mut Registers<V>, V) + Send>;

/// The registers of a [`RegisterMap`], as its hooks see them. A register that is not defined is zero.
pub struct Registers<V> {
    values: [V; 256],
    reset_values: [V; 256],
    /// The time since power-on.
    now: Duration,
    timers: Vec<(Duration, Timer<V>)>,
}

impl<V> std::fmt::Debug for Registers<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registers")
            .field("now", &self.now)
            .field("timers", &self.timers.len())
            .finish_non_exhaustive()
    }
}

impl<V: RegisterValue> Registers<V> {
    /// The value of a register.
    #[must_use]
    pub fn get(&self, register: u8) -> V {
        self.values[usize::from(register)]
    }

    /// Sets a register, also a read-only one.
    pub fn set(&mut self, register: u8, value: V) {
        self.values[usize::from(register)] = value;
    }

    /// Sets consecutive registers, beginning with `first`.
    pub fn set_block(&mut self, first: u8, values: &[V]) {
        for (register, value) in self.values[usize::from(first)..].iter_mut().zip(values) {
            *register = *value;
        }
    }

    /// Changes registers later, for example at the end of a measurement: when the driver has waited this
    /// long.
    pub fn after(&mut self, time: Duration, change: impl FnOnce(&mut Self) + Send + 'static) {
        self.timers.push((self.now + time, Box::new(change)));
    }

    /// Sets all registers to their values after power-on, and cancels all timers.
    pub fn reset(&mut self) {
        self.values = self.reset_values;
        self.timers.clear();
    }

    fn define(&mut self, register: u8, value: V) {
        self.values[usize::from(register)] = value;
        self.reset_values[usize::from(register)] = value;
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        let next = |timers: &[(Duration, Timer<V>)], now: Duration| {
            let due = timers.iter().enumerate().filter(|(_, (at, _))| *at <= now);
            due.min_by_key(|(_, (at, _))| *at).map(|(index, _)| index)
        };
        while let Some(index) = next(&self.timers, self.now) {
            let (_, change) = self.timers.remove(index);
            change(self);
        }
    }
}

/// A simulated I2C chip with 8-bit register addresses and registers of 8 or 16 bits.
///
/// The first byte of a write selects a register. The following bytes are its new value and the values of the
/// next registers; a read begins at the selected register. A write to a register that is read-only or not
/// defined is ignored.
///
/// A thermometer that needs 16 ms for a measurement:
///
/// ```
/// use std::time::Duration;
/// use iotpi_hal::sim::{RegisterMap, SimI2c, Weather, World};
///
/// const RESULT: u8 = 0x00;
/// const CONFIGURATION: u8 = 0x01;
/// const READY: u16 = 1 << 13;
/// const ONE_SHOT: u16 = 0b11 << 10;
///
/// let world = World::still(Weather::default());
/// let chip = RegisterMap::<u16>::new()
///     .without_auto_increment()
///     .read_only(RESULT, 0x8000)
///     .register(CONFIGURATION, 0x0220)
///     .on_write(CONFIGURATION, move |registers, value| {
///         if value & ONE_SHOT == ONE_SHOT {
///             let steps = (world.weather().temperature / 0.007_812_5).round() as i16;
///             registers.after(Duration::from_millis(16), move |registers| {
///                 registers.set(RESULT, steps as u16);
///                 registers.set(CONFIGURATION, value | READY);
///             });
///         }
///     });
/// let bus = SimI2c::new().with_chip(0x48, chip);
/// ```
pub struct RegisterMap<V: RegisterValue> {
    registers: Registers<V>,
    access: [Access; 256],
    on_read: BTreeMap<u8, ReadHook<V>>,
    on_write: BTreeMap<u8, WriteHook<V>>,
    /// The register the next read begins at.
    pointer: u8,
    increments: bool,
    paired_writes: bool,
    little_endian: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Undefined,
    ReadOnly,
    ReadWrite,
}

impl<V: RegisterValue> RegisterMap<V> {
    /// A chip without registers. Its bytes are big-endian, and it increments the register address.
    #[must_use]
    pub fn new() -> Self {
        Self {
            registers: Registers {
                values: [V::default(); 256],
                reset_values: [V::default(); 256],
                now: Duration::ZERO,
                timers: Vec::new(),
            },
            access: [Access::Undefined; 256],
            on_read: BTreeMap::new(),
            on_write: BTreeMap::new(),
            pointer: 0,
            increments: true,
            paired_writes: false,
            little_endian: false,
        }
    }

    /// Sends and receives the low byte of a register of 16 bits first.
    #[must_use]
    pub fn little_endian(mut self) -> Self {
        self.little_endian = true;
        self
    }

    /// Repeats the selected register in a longer read, and ignores the rest of a longer write.
    #[must_use]
    pub fn without_auto_increment(mut self) -> Self {
        self.increments = false;
        self
    }

    /// Expects the address of the next register after each value of a write, as the chips of Bosch do.
    #[must_use]
    pub fn with_paired_writes(mut self) -> Self {
        self.paired_writes = true;
        self
    }

    /// Defines a register with its value after power-on.
    #[must_use]
    pub fn register(mut self, register: u8, value: V) -> Self {
        self.define(register, value, Access::ReadWrite);
        self
    }

    /// Defines a register that the bus cannot write.
    #[must_use]
    pub fn read_only(self, register: u8, value: V) -> Self {
        self.read_only_block(register, [value])
    }

    /// Defines consecutive registers that the bus cannot write.
    #[must_use]
    pub fn read_only_block(mut self, first: u8, values: impl IntoIterator<Item = V>) -> Self {
        for (register, value) in (first..=u8::MAX).zip(values) {
            self.define(register, value, Access::ReadOnly);
        }
        self
    }

    /// Computes the value of a register at each read of it. The hook may set other registers, for example the
    /// following ones of the same read.
    #[must_use]
    pub fn on_read(
        mut self,
        register: u8,
        hook: impl FnMut(&mut Registers<V>) -> V + Send + 'static,
    ) -> Self {
        self.on_read.insert(register, Box::new(hook));
        self
    }

    /// Reacts to a write to a register, after the register has its new value.
    #[must_use]
    pub fn on_write(mut self, register: u8, hook: impl FnMut(&mut Registers<V>, V) + Send + 'static) -> Self {
        self.on_write.insert(register, Box::new(hook));
        self
    }

    fn define(&mut self, register: u8, value: V, access: Access) {
        self.registers.define(register, value);
        self.access[usize::from(register)] = access;
    }

    fn store(&mut self, register: u8, value: V) {
        if self.access[usize::from(register)] == Access::ReadWrite {
            self.registers.set(register, value);
            if let Some(hook) = self.on_write.get_mut(&register) {
                hook(&mut self.registers, value);
            }
        }
    }

    fn decode(&self, bytes: &[u8]) -> V {
        V::from_bytes(match *bytes {
            [low, high] if self.little_endian => [high, low],
            [high, low] => [high, low],
            _ => [0, bytes[0]],
        })
    }

    fn encode(&self, value: V) -> impl Iterator<Item = u8> + use<V> {
        let mut bytes = value.to_bytes();
        if self.little_endian && V::BYTES == 2 {
            bytes.reverse();
        }
        bytes.into_iter().skip(2 - V::BYTES)
    }
}

impl<V: RegisterValue> Default for RegisterMap<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: RegisterValue> fmt::Debug for RegisterMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let defined = self.access.iter().filter(|access| **access != Access::Undefined).count();
        f.debug_struct("RegisterMap").field("registers", &defined).finish_non_exhaustive()
    }
}

impl<V: RegisterValue> I2cChip for RegisterMap<V> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ErrorKind> {
        let Some((&first, mut rest)) = bytes.split_first() else { return Ok(()) };
        self.pointer = first;
        let mut register = first;
        while let Some((value, later)) = rest.split_at_checked(V::BYTES) {
            self.store(register, self.decode(value));
            match later.split_first() {
                Some((&next, values)) if self.paired_writes => (register, rest) = (next, values),
                _ if self.increments && !self.paired_writes => {
                    (register, rest) = (register.wrapping_add(1), later);
                }
                _ => break,
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), ErrorKind> {
        for bytes in buffer.chunks_mut(V::BYTES) {
            let register = self.pointer;
            if let Some(hook) = self.on_read.get_mut(&register) {
                let value = hook(&mut self.registers);
                self.registers.set(register, value);
            }
            for (byte, value) in bytes.iter_mut().zip(self.encode(self.registers.get(register))) {
                *byte = value;
            }
            if self.increments {
                self.pointer = register.wrapping_add(1);
            }
        }
        Ok(())
    }

    fn advance(&mut self, time: Duration) {
        self.registers.advance(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize, V: RegisterValue>(chip: &mut RegisterMap<V>, register: u8) -> [u8; N] {
        let mut buffer = [0; N];
        chip.write(&[register]).unwrap();
        chip.read(&mut buffer).unwrap();
        buffer
    }

    #[test]
    fn registers_are_read_and_written_in_sequence() {
        let mut chip = RegisterMap::<u8>::new().read_only(0x0F, 0x33).register(0x20, 7).register(0x21, 8);

        chip.write(&[0x20, 0x47, 0x48]).unwrap();
        chip.write(&[0x0F, 0x00]).unwrap();
        chip.write(&[0x30, 0x01]).unwrap();

        assert_eq!(read(&mut chip, 0x20), [0x47, 0x48, 0x00]);
        assert_eq!(read(&mut chip, 0x0F), [0x33]);
        assert_eq!(read(&mut chip, 0x30), [0x00]);
    }

    #[test]
    fn registers_of_16_bits_have_a_byte_order() {
        let big = RegisterMap::<u16>::new().register(0x01, 0x0220).read_only(0x02, 0x1234);
        let little = RegisterMap::<u16>::new().little_endian().register(0x01, 0x0220).read_only(0x02, 0x1234);

        for (mut chip, bytes) in [(big, [0x0C, 0x20, 0x12, 0x34]), (little, [0x20, 0x0C, 0x34, 0x12])] {
            chip.write(&[0x01, bytes[0], bytes[1]]).unwrap();

            assert_eq!(chip.registers.get(0x01), 0x0C20);
            assert_eq!(read(&mut chip, 0x01), bytes);
        }
    }

    #[test]
    fn without_auto_increment_a_read_repeats_the_register() {
        let mut chip = RegisterMap::<u16>::new().without_auto_increment().register(0x01, 0xAABB);

        chip.write(&[0x01, 0x11, 0x22, 0x33, 0x44]).unwrap();

        assert_eq!(read(&mut chip, 0x01), [0x11, 0x22, 0x11, 0x22]);
    }

    #[test]
    fn paired_writes_name_each_register() {
        let mut chip = RegisterMap::<u8>::new().with_paired_writes().register(0xF2, 0).register(0xF4, 0);

        chip.write(&[0xF4, 0x25, 0xF2, 0x01, 0xF4]).unwrap();

        assert_eq!([chip.registers.get(0xF2), chip.registers.get(0xF4)], [0x01, 0x25]);
    }

    #[test]
    fn hooks_compute_values_and_react_to_writes() {
        let mut chip = RegisterMap::<u8>::new()
            .register(0x10, 0)
            .on_write(0x10, |registers, value| {
                registers.after(Duration::from_millis(2), |registers| registers.set(0x11, 0));
                registers.after(Duration::from_millis(1), move |registers| registers.set(0x11, value));
            })
            .on_read(0x12, |registers| {
                registers.set_block(0x13, &[2, 3]);
                1
            });

        chip.write(&[0x10, 9]).unwrap();
        let before = read::<1, _>(&mut chip, 0x11);
        chip.advance(Duration::from_millis(1));
        let after = read::<1, _>(&mut chip, 0x11);
        chip.advance(Duration::from_millis(5));

        assert_eq!((before, after, read(&mut chip, 0x11)), ([0], [9], [0]));
        assert_eq!(read(&mut chip, 0x12), [1, 2, 3]);
    }

    #[test]
    fn a_reset_restores_the_values_after_power_on() {
        let mut chip =
            RegisterMap::<u8>::new().register(0x10, 5).register(0xE0, 0).on_write(0xE0, |registers, _| {
                registers.reset();
            });

        chip.write(&[0x10, 9]).unwrap();
        chip.write(&[0xE0, 0xB6]).unwrap();

        assert_eq!(read(&mut chip, 0x10), [5]);
    }
}
