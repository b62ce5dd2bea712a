//! A Sensirion SHT31, a chip with commands and checksums instead of registers: the driver, its simulated chip
//! and the test.
#![cfg(feature = "sim")]

use std::{sync::Arc, time::Duration};

use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample};
use iotpi_hal::{
    blocking::Blocking,
    drivers::BlockingSensor,
    embedded_hal::{
        delay::DelayNs,
        i2c::{ErrorKind, I2c, NoAcknowledgeSource},
    },
    sim::{Fault, I2cChip, SimI2c, Weather, World},
    testing::SensorContract,
};

const ADDRESS: u8 = 0x44;
/// A measurement with high repeatability, without clock stretching: at most 15.5 ms (datasheet, table 4).
const MEASURE: [u8; 2] = [0x24, 0x00];
const MEASUREMENT: Duration = Duration::from_micros(15_500);

/// The checksum of two bytes: polynomial 0x31, initial value 0xFF (section 4.12).
fn crc(word: [u8; 2]) -> u8 {
    word.iter().fold(0xFF, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x31 })
    })
}

struct Sht31<I, D> {
    i2c: I,
    delay: D,
}

impl<I: I2c + Send + 'static, D: DelayNs + Send + 'static> BlockingSensor for Sht31<I, D> {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Temperature, Quantity::Humidity]
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let mut bytes = [0; 6];
        self.i2c.write(ADDRESS, &MEASURE).map_err(|e| DeviceError::bus(ADDRESS, &e))?;
        self.delay.delay_us(15_500);
        self.i2c.read(ADDRESS, &mut bytes).map_err(|e| DeviceError::bus(ADDRESS, &e))?;
        let share = |part: &[u8]| match *part {
            [high, low, checksum] if crc([high, low]) == checksum => {
                Ok(f64::from(u16::from_be_bytes([high, low])) / 65_535.0)
            }
            _ => Err(DeviceError::new(DeviceErrorKind::Checksum, "the answer was corrupted on the bus")),
        };
        let (temperature, humidity) = bytes.split_at(3);
        Ok(vec![
            Sample::new(Quantity::Temperature, -45.0 + 175.0 * share(temperature)?),
            Sample::new(Quantity::Humidity, 100.0 * share(humidity)?),
        ])
    }
}

/// The simulated chip.
struct SimSht31 {
    world: Arc<World>,
    /// The time until the measurement is finished.
    busy: Option<Duration>,
}

impl I2cChip for SimSht31 {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ErrorKind> {
        self.busy = (bytes == MEASURE).then_some(MEASUREMENT);
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn read(&mut self, buffer: &mut [u8]) -> Result<(), ErrorKind> {
        if self.busy.take() != Some(Duration::ZERO) {
            return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address));
        }
        let Weather { temperature, humidity, .. } = self.world.weather();
        let words = [(temperature + 45.0) / 175.0, humidity / 100.0].map(|share| (share * 65_535.0) as u16);
        let bytes = words.map(u16::to_be_bytes).into_iter().flat_map(|word| [word[0], word[1], crc(word)]);
        for (byte, value) in buffer.iter_mut().zip(bytes) {
            *byte = value;
        }
        Ok(())
    }

    fn advance(&mut self, time: Duration) {
        self.busy = self.busy.map(|left| left.saturating_sub(time));
    }
}

#[test]
fn the_checksum_is_the_example_of_the_datasheet() {
    assert_eq!(crc([0xBE, 0xEF]), 0x92);
}

#[tokio::test]
async fn a_driver_with_a_checksum_detects_wrong_bytes() {
    let chip = SimSht31 { world: World::still(Weather::default()), busy: None };
    let bus = SimI2c::new().with_chip(ADDRESS, chip);
    let mut sensor = Blocking::new(Sht31 { i2c: bus.clone(), delay: bus.delay() });

    SensorContract::new([(Quantity::Temperature, 21.4..=21.6), (Quantity::Humidity, 44.9..=45.1)])
        .detecting([
            Fault::Unplugged,
            Fault::Nack,
            Fault::BusLow,
            Fault::AllOnes,
            Fault::Corrupt,
            Fault::Hung,
        ])
        .check(&mut sensor, bus.faults())
        .await;
}
