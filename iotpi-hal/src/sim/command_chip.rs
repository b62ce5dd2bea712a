//! A simulated chip with commands instead of registers.

use std::{fmt, time::Duration};

use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};

use super::I2cChip;

type Answer = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// A simulated I2C chip that runs commands: a write begins with the bytes of a command; a read returns its answer.
///
/// A chip that does not know a command does not acknowledge it. It does not acknowledge a read until the answer is
/// ready, unless it has a [busy answer](Self::with_busy_answer). An answer is read once.
///
/// ```
/// use std::time::Duration;
/// use iotpi_hal::sim::{CommandChip, SimI2c, Weather, World};
///
/// let world = World::still(Weather::default());
/// // A light sensor that measures for 120 ms.
/// let chip = CommandChip::new().on([0x20], Duration::from_millis(120), move |_| {
///     let steps = (world.weather().illuminance * 1.2) as u16;
///     steps.to_be_bytes().to_vec()
/// });
/// let bus = SimI2c::new().with_chip(0x23, chip);
/// ```
#[derive(Default)]
pub struct CommandChip {
    commands: Vec<Command>,
    /// The answer of the last command, and the time until it is ready.
    answer: Option<(Duration, Vec<u8>)>,
    busy: Option<Vec<u8>>,
}

struct Command {
    bytes: Vec<u8>,
    time: Duration,
    answer: Answer,
}

impl fmt::Debug for CommandChip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.commands.iter().map(|command| &command.bytes)).finish()
    }
}

impl CommandChip {
    /// A chip without commands.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a command that takes some time. `answer` receives the bytes after the command, and returns the bytes
    /// for the next read; none if there is nothing to read.
    #[must_use]
    pub fn on(
        mut self,
        command: impl Into<Vec<u8>>,
        time: Duration,
        answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> Self {
        self.commands.push(Command { bytes: command.into(), time, answer: Box::new(answer) });
        self
    }

    /// Answers a read with these bytes, repeated, while a command runs and before the first one.
    #[must_use]
    pub fn with_busy_answer(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.busy = Some(bytes.into());
        self
    }
}

impl I2cChip for CommandChip {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ErrorKind> {
        let command = self.commands.iter_mut().find(|command| bytes.starts_with(&command.bytes));
        let command = command.ok_or(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data))?;
        let answer = (command.answer)(&bytes[command.bytes.len()..]);
        self.answer = Some((command.time, answer));
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), ErrorKind> {
        let answer = match self.answer.take_if(|(left, answer)| left.is_zero() && !answer.is_empty()) {
            Some((_, answer)) => answer,
            None => self.busy.clone().ok_or(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address))?,
        };
        // The data line floats high after the last byte.
        buffer.fill(0xFF);
        buffer.iter_mut().zip(&answer).for_each(|(byte, value)| *byte = *value);
        Ok(())
    }

    fn advance(&mut self, time: Duration) {
        if let Some((left, _)) = &mut self.answer {
            *left = left.saturating_sub(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chip() -> CommandChip {
        CommandChip::new()
            .on([0x24, 0x00], Duration::from_millis(15), |arguments| vec![arguments.len() as u8, 2])
            .on([0x30], Duration::ZERO, |_| Vec::new())
    }

    fn read(chip: &mut CommandChip) -> Result<[u8; 2], ErrorKind> {
        let mut buffer = [0; 2];
        chip.read(&mut buffer).map(|()| buffer)
    }

    #[test]
    fn an_answer_is_ready_after_the_time_of_its_command_and_is_read_once() {
        let mut chip = chip();

        chip.write(&[0x24, 0x00, 7]).unwrap();
        let early = read(&mut chip);
        chip.advance(Duration::from_millis(15));

        assert!(early.is_err());
        assert_eq!(read(&mut chip), Ok([1, 2]));
        assert!(read(&mut chip).is_err());
    }

    #[test]
    fn an_unknown_command_is_not_acknowledged_and_a_busy_answer_is_repeated() {
        let mut chip = chip().with_busy_answer([0x80]);

        assert!(chip.write(&[0x25]).is_err());
        assert_eq!([read(&mut chip), read(&mut chip)], [Ok([0x80, 0xFF]); 2]);
        chip.write(&[0x30]).unwrap();
        assert_eq!(read(&mut chip), Ok([0x80, 0xFF]));
    }
}
