//! A simulated DS18B20 as the kernel presents it: a folder of files.

use std::{fmt::Write as _, fs, io, path::Path, sync::Arc};

use iotpi_core::{DeviceError, Quantity, Sample, model::reading::SeriesSpec};
use tempfile::TempDir;

use super::{Fault, FaultSwitch, World};
use crate::{
    drivers::{BlockingSensor, ds18b20::Ds18b20},
    kernel::w1::{W1, crc8},
};

/// The simulated thermometer. Dropping it removes its folder.
///
/// ```
/// use iotpi_hal::{drivers::BlockingSensor, sim::{SimDs18b20, SimThermometer, Weather, World}};
///
/// let chip = SimDs18b20::new("28-0316a2790c1b", World::still(Weather::default()))?;
/// let samples = SimThermometer::new(chip).sense()?;
/// assert_eq!(samples[0].outcome.value(), Some(21.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SimDs18b20 {
    id: String,
    folder: Arc<TempDir>,
    world: Arc<World>,
    faults: FaultSwitch,
    scratchpad: Scratchpad,
}

/// The changing part of the chip's scratchpad.
#[derive(Debug, Clone, Copy)]
struct Scratchpad {
    /// Sixteenths of a degree.
    raw: i16,
    /// Reserved by the datasheet; real chips store 0x10 less the sixteenths of a degree here.
    byte_6: u8,
}

impl Scratchpad {
    const POWER_ON: Self = Self { raw: 85 * 16, byte_6: 0x0C };

    fn measured(raw: i16) -> Self {
        let [low, _] = raw.to_le_bytes();
        Self { raw, byte_6: 0x10 - (low & 0x0F) }
    }

    fn bytes(self) -> [u8; 8] {
        let [low, high] = self.raw.to_le_bytes();
        [low, high, 0x4B, 0x46, 0x7F, 0xFF, self.byte_6, 0x10]
    }
}

impl SimDs18b20 {
    /// A thermometer with this id (`28-0316a2790c1b`) in a world, in a new temporary folder.
    ///
    /// # Errors
    /// The temporary folder cannot be written.
    pub fn new(id: impl Into<String>, world: Arc<World>) -> io::Result<Self> {
        Ok(Self::on_bus(Arc::new(tempfile::Builder::new().prefix("iotpi-w1-").tempdir()?), id, world))
    }

    /// A thermometer in the folder of others.
    fn on_bus(folder: Arc<TempDir>, id: impl Into<String>, world: Arc<World>) -> Self {
        let (faults, scratchpad) = (FaultSwitch::default(), Scratchpad::POWER_ON);
        Self { id: id.into(), folder, world, faults, scratchpad }
    }

    /// The same thermometer with the faults of this switch.
    #[must_use]
    pub fn with_faults(mut self, faults: FaultSwitch) -> Self {
        self.faults = faults;
        self
    }

    /// The folder that replaces [`KERNEL_FOLDER`](crate::drivers::ds18b20::KERNEL_FOLDER).
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Measures as the chip would, and writes the files the kernel would show.
    ///
    /// # Errors
    /// The folder cannot be written.
    #[allow(clippy::cast_possible_truncation)]
    pub fn refresh(&mut self) -> io::Result<()> {
        let fault = self.faults.next_transfer();
        let device = self.folder.path().join(&self.id);
        if fault == Some(Fault::Unplugged) {
            return match fs::remove_dir_all(&device) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        fs::create_dir_all(&device)?;
        if fault != Some(Fault::Stuck) {
            self.scratchpad = Scratchpad::measured((self.world.weather().temperature * 16.0).round() as i16);
        }
        let measured = self.scratchpad.bytes();
        let text = match fault {
            Some(Fault::Nack) => String::new(),
            // A chip that lost power reports its power-on value.
            Some(Fault::Hung) => with_checksum(Scratchpad::POWER_ON.bytes()),
            Some(Fault::Corrupt) => slave_file(measured, crc8(&measured) ^ 0x10),
            // DQ shorted to ground. The checksum of zeros is zero.
            Some(Fault::BusLow) => slave_file([0; 8], 0),
            Some(Fault::AllOnes) => slave_file([0xFF; 8], 0xFF),
            Some(Fault::Noise) => {
                slave_file([0; 8].map(|_| self.faults.random_byte()), self.faults.random_byte())
            }
            _ => with_checksum(measured),
        };
        fs::write(device.join("w1_slave"), text)
    }
}

fn with_checksum(scratchpad: [u8; 8]) -> String {
    slave_file(scratchpad, crc8(&scratchpad))
}

/// The kernel's `w1_slave` file: the scratchpad (datasheet figure 9) with the checksum the chip sent, and the
/// temperature.
fn slave_file(scratchpad: [u8; 8], checksum: u8) -> String {
    let bytes = scratchpad.iter().chain([&checksum]).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x} ");
        text
    });
    let crc = crc8(&scratchpad);
    let verdict = if crc == checksum { "YES" } else { "NO" };
    // Whole thousandths, truncated, as the kernel computes them.
    let millidegrees = i32::from(i16::from_le_bytes([scratchpad[0], scratchpad[1]])) * 1000 / 16;
    format!("{bytes}: crc={crc:02x} {verdict}\n{bytes}t={millidegrees}\n")
}

/// The production driver on a [`SimDs18b20`]. The simulated chip measures at each read, as the kernel makes the
/// real chip do.
#[derive(Debug)]
pub struct SimThermometer {
    sim: SimDs18b20,
    driver: Ds18b20,
}

impl SimThermometer {
    /// The production driver on the folder of a simulated thermometer.
    #[must_use]
    pub fn new(sim: SimDs18b20) -> Self {
        let driver = Ds18b20::in_folder(sim.folder(), Some(sim.id.clone()));
        Self { sim, driver }
    }
}

impl BlockingSensor for SimThermometer {
    fn quantities(&self) -> Vec<Quantity> {
        self.driver.quantities()
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        self.sim.refresh().map_err(super::sysfs::write_error)?;
        self.driver.sense()
    }
}

/// The production driver of all thermometers on a bus with simulated ones.
#[derive(Debug)]
pub(crate) struct SimW1 {
    chips: Vec<SimDs18b20>,
    driver: W1,
}

impl SimW1 {
    /// Thermometers with these ids in a world.
    pub(crate) fn new(
        ids: Vec<String>,
        world: &Arc<World>,
        faults: &FaultSwitch,
    ) -> Result<Self, DeviceError> {
        let folder =
            tempfile::Builder::new().prefix("iotpi-w1-").tempdir().map_err(super::sysfs::write_error)?;
        let folder = Arc::new(folder);
        let chip =
            |id: &String| SimDs18b20::on_bus(folder.clone(), id, world.clone()).with_faults(faults.clone());
        let chips = ids.iter().map(chip).collect();
        Ok(Self { chips, driver: W1::in_folder(folder.path().to_owned(), ids)? })
    }
}

impl BlockingSensor for SimW1 {
    fn quantities(&self) -> Vec<Quantity> {
        self.driver.quantities()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.driver.series()
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        for chip in &mut self.chips {
            chip.refresh().map_err(super::sysfs::write_error)?;
        }
        self.driver.sense()
    }
}

#[cfg(test)]
mod tests {
    use iotpi_core::DeviceErrorKind;

    use super::*;
    use crate::sim::Weather;

    const ID: &str = "28-0000005e1a2b";

    #[test]
    fn the_file_has_the_format_of_the_kernel_documentation() {
        let text = with_checksum(Scratchpad::measured(0x0172).bytes());

        assert_eq!(text, "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n");
    }

    #[test]
    fn the_driver_reads_every_value_of_the_chip() {
        let world = World::still(Weather::default());
        let mut thermometer = SimThermometer::new(SimDs18b20::new(ID, world.clone()).unwrap());

        // Steps of 5/16 degree over the whole range; 85 °C is one of them.
        for sixteenths in (-55 * 16..=125 * 16).step_by(5) {
            let temperature = f64::from(sixteenths) / 16.0;
            world.set(Weather { temperature, ..Weather::default() });

            let samples = thermometer.sense().unwrap();

            assert!((samples[0].outcome.value().unwrap() - temperature).abs() < 0.001, "{temperature}");
        }
    }

    #[test]
    fn after_power_on_the_85_degrees_of_the_chip_are_no_measurement() {
        let faults = FaultSwitch::default();
        let world = World::still(Weather { temperature: 85.0, ..Weather::default() });
        let chip = SimDs18b20::new(ID, world).unwrap().with_faults(faults.clone());
        let mut thermometer = SimThermometer::new(chip);

        let measured = thermometer.sense().unwrap()[0].outcome.value();
        faults.begin(Fault::Hung);
        let after_power_on = thermometer.sense().unwrap_err();

        assert_eq!(measured, Some(85.0));
        assert_eq!(after_power_on.kind(), DeviceErrorKind::OutOfRange);
    }

    #[test]
    fn the_folder_is_deleted_with_the_simulated_device() {
        let sim = SimDs18b20::new(ID, World::still(Weather::default())).unwrap();
        let folder = sim.folder().to_owned();

        drop(sim);

        assert!(!folder.exists());
    }
}
