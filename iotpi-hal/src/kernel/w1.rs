//! Thermometers on the kernel's 1-Wire buses: all of them as one device.
//!
//! | family | chip | range |
//! |---|---|---|
//! | 10 | DS18S20, DS1820 | -55 to 125 °C |
//! | 22 | DS1822 | -55 to 125 °C |
//! | 28 | DS18B20 | -55 to 125 °C |
//! | 3b | DS1825 | -55 to 125 °C |
//! | 3b | MAX31850, thermocouple | -270 to 1,800 °C |
//! | 42 | DS28EA00 | -55 to 125 °C |
//!
//! # Wiring
//! | sensor | Raspberry Pi |
//! |---|---|
//! | VDD (red) | 3.3 V, pin 1 |
//! | GND (black) | ground, pin 9 |
//! | DQ (yellow) | BCM 4, pin 7, with 4.7 kilo-ohm to 3.3 V |
//!
//! # Boot configuration
//! `dtoverlay=w1-gpio` in `/boot/firmware/config.txt` (before 2023: `/boot/config.txt`), then a reboot. The
//! kernel then shows each thermometer as a folder `/sys/bus/w1/devices/28-*`, which any user may read.
//!
//! # Conversion
//! One conversion takes 750 ms. With several thermometers, the driver starts it for all of a bus at once
//! through `therm_bulk_read` (Documentation/w1/slaves/w1_therm.rst), if it may write that file, which belongs
//! to root (`docs/howto/kernel-sensors.md`). Otherwise they convert one after the other.
//!
//! # 85 °C
//! After power-on the scratchpad contains 85.000 °C, which is also a valid temperature. Byte 6 of the
//! scratchpad distinguishes the two, by the rule of the kernel's own check (the same page, `features`; in
//! drivers/w1/slaves/w1_therm.c, `convert_t`): it is 0x0C until the first conversion. A conversion sets it to
//! 0x10 less the sixteenths of a degree; for 85.000 °C to 0x10. Clones that always leave 0x0C there, and a
//! DS18S20, in which byte 6 is part of the measurement, cannot report 85.000 °C. They report the neighbouring
//! values.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no thermometer` | the overlay; the pull-up resistor; DQ and GND swapped |
//! | `bus` | a loose wire; DQ shorted to ground reads as all zeros |
//! | `checksum` | a long or star-shaped cable; a pull-up that is too weak (try 2.2 kilo-ohm) |
//! | `out of range: 85 °C` | the value after power-on: the chip lost power during the measurement. Connect VDD, do not use parasitic power |
//!
//! # Deliberately absent
//! Setting the resolution: the default of the chip is 12 bits. A 1-Wire driver of our own: the timing is in
//! microseconds, which belongs in the kernel.

mod scratchpad;

use std::{
    fs,
    path::{Path, PathBuf},
};

use iotpi_core::{Channel, DeviceError, DeviceErrorKind, Quantity, Sample, model::reading::SeriesSpec};

use super::{Sysfs, series, sysfs::entries};
use crate::drivers::BlockingSensor;

#[cfg(feature = "sim")]
pub(crate) use scratchpad::crc8;

/// The sysfs folder of the 1-Wire devices.
pub(crate) const FOLDER: &str = "sys/bus/w1/devices";
const FAMILIES: [(&str, &str); 5] = [
    ("10", "DS18S20"),
    ("22", "DS1822"),
    ("28", "DS18B20"),
    ("3b", "DS1825 or MAX31850"),
    ("42", "DS28EA00"),
];

/// The driver. Each thermometer is a channel, with its id as its name.
///
/// ```
/// use iotpi_core::DeviceErrorKind;
/// use iotpi_hal::{drivers::BlockingSensor, kernel::{Sysfs, w1::W1}};
///
/// match W1::open(&Sysfs::new(), Vec::new()) {
///     Ok(mut thermometers) => println!("{:?}", thermometers.sense()),
///     Err(error) => assert_eq!(error.kind(), DeviceErrorKind::NotFound),
/// }
/// ```
#[derive(Debug)]
pub struct W1 {
    folder: PathBuf,
    thermometers: Vec<(String, SeriesSpec)>,
}

impl W1 {
    /// The thermometers with these ids (`28-00000abcdef0`), which need not be present yet; without ids, all
    /// that are present now.
    ///
    /// # Errors
    /// - [`DeviceErrorKind::NotFound`]: there is no thermometer, and no id is given.
    /// - [`DeviceErrorKind::Refused`]: an id is not that of a thermometer.
    pub fn open(sysfs: &Sysfs, ids: Vec<String>) -> Result<Self, DeviceError> {
        Self::in_folder(sysfs.path(FOLDER), ids)
    }

    pub(crate) fn in_folder(folder: PathBuf, ids: Vec<String>) -> Result<Self, DeviceError> {
        let ids = if ids.is_empty() { present(&folder)? } else { ids };
        let thermometers = ids.into_iter().map(|id| {
            let channel = Channel::new(&*id).ok().filter(|_| is_thermometer(&id));
            let channel = channel.ok_or_else(|| {
                let message = format!("the id of a thermometer looks like `28-00000abcdef0`, not `{id}`");
                DeviceError::new(DeviceErrorKind::Refused, message)
            })?;
            Ok((id, SeriesSpec::new(Quantity::Temperature).with_channel(channel)))
        });
        Ok(Self { thermometers: thermometers.collect::<Result<_, DeviceError>>()?, folder })
    }

    /// Starts the conversion of all thermometers of each bus. Without permission each one converts when it is
    /// read.
    fn convert_all(&self) {
        let files = entries(&self.folder).into_iter().map(|device| device.join("therm_bulk_read"));
        for file in files.filter(|file| file.exists()) {
            // The kernel returns when the conversion is complete.
            let _ = fs::write(file, "trigger\n");
        }
    }
}

/// Whether this is the id of a thermometer: its family, and a serial number in hexadecimal.
pub(crate) fn is_thermometer(id: &str) -> bool {
    id.split_once('-').is_some_and(|(family, serial)| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        FAMILIES.iter().any(|known| known.0 == family) && !serial.is_empty() && serial.bytes().all(is_hex)
    })
}

/// The chip of an id.
pub(crate) fn chip(id: &str) -> &'static str {
    FAMILIES.iter().find(|(family, _)| id.split('-').next() == Some(family)).map_or("", |(_, chip)| chip)
}

/// The ids of the thermometers in a folder, in order.
pub(crate) fn ids(folder: &Path) -> Vec<String> {
    let names = entries(folder).into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let mut ids: Vec<_> = names.filter(|name| is_thermometer(name)).collect();
    ids.sort();
    ids
}

/// The ids of the thermometers in a folder, at least one.
pub(crate) fn present(folder: &Path) -> Result<Vec<String>, DeviceError> {
    let ids = ids(folder);
    let name = folder.display();
    let message = match (ids.is_empty(), folder.is_dir()) {
        (false, _) => return Ok(ids),
        (true, true) => format!("no thermometer in {name}: look at the wiring and the 4.7 kilo-ohm pull-up"),
        (true, false) => {
            format!(
                "no 1-Wire bus at {name}: add `dtoverlay=w1-gpio` to /boot/firmware/config.txt and reboot"
            )
        }
    };
    Err(DeviceError::new(DeviceErrorKind::NotFound, message))
}

/// Measures the temperature of one thermometer in degrees Celsius. Takes up to a second.
pub(crate) fn measure(folder: &Path, id: &str) -> Result<f64, DeviceError> {
    let files = Sysfs::new();
    let device = folder.join(id);
    let family = id.split('-').next().unwrap_or_default();
    let simple = device.join("temperature");
    match files.text(&device.join("w1_slave")) {
        Ok(text) => scratchpad::temperature(family, &text),
        Err(error) if error.kind() == DeviceErrorKind::NotFound && simple.exists() => {
            let text = files.text(&simple)?;
            if text.is_empty() {
                let message = "the kernel got no answer from the thermometer";
                return Err(DeviceError::new(DeviceErrorKind::Bus, message));
            }
            scratchpad::without_scratchpad(text.parse()?)
        }
        Err(error) => Err(error),
    }
}

impl BlockingSensor for W1 {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Temperature; self.thermometers.len()]
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.thermometers.iter().map(|(_, series)| series.clone()).collect()
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        if self.thermometers.len() > 1 {
            self.convert_all();
        }
        series::samples(self.thermometers.iter().map(|(id, series)| {
            let value = measure(&self.folder, id);
            (series.clone(), value.map(|value| Sample::new(series.clone(), value)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n";

    fn bus(devices: &[(&str, &str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (device, file, text) in devices {
            fs::create_dir_all(folder.path().join(device)).unwrap();
            fs::write(folder.path().join(device).join(file), text).unwrap();
        }
        folder
    }

    fn open(folder: &tempfile::TempDir, ids: &[&str]) -> Result<W1, DeviceError> {
        W1::in_folder(folder.path().to_owned(), ids.iter().map(|id| (*id).to_owned()).collect())
    }

    #[test]
    fn every_family_of_thermometers_is_a_channel() {
        let ids =
            ["10-000000000001", "22-000000000002", "28-000000000003", "3b-000000000004", "42-000000000005"];
        let mut devices: Vec<_> = ids.iter().map(|id| (*id, "w1_slave", GOOD)).collect();
        devices.extend([("01-0000abcdef01", "id", ""), ("w1_bus_master1", "w1_master_name", "")]);
        let folder = bus(&devices);

        let mut thermometers = open(&folder, &[]).unwrap();
        let samples = thermometers.sense().unwrap();

        let channels: Vec<_> =
            thermometers.series().into_iter().filter_map(|series| series.channel).collect();
        assert_eq!(channels.iter().map(Channel::as_str).collect::<Vec<_>>(), ids);
        assert!(samples.iter().all(|sample| sample.outcome.value() == Some(23.125)), "{samples:?}");
    }

    #[test]
    fn a_thermometer_that_is_unplugged_is_a_gap_until_it_is_back() {
        let folder = bus(&[("28-01", "w1_slave", GOOD), ("28-02", "w1_slave", GOOD)]);
        let mut thermometers = open(&folder, &["28-01", "28-02"]).unwrap();
        let mut values = || {
            let samples = thermometers.sense().map_err(|error| error.kind())?;
            Ok(samples.iter().map(|sample| sample.outcome.value()).collect::<Vec<_>>())
        };

        fs::rename(folder.path().join("28-02"), folder.path().join("away")).unwrap();
        let one = values();
        fs::rename(folder.path().join("28-01"), folder.path().join("also-away")).unwrap();
        let none = values();
        fs::rename(folder.path().join("away"), folder.path().join("28-02")).unwrap();
        let back = values();

        assert_eq!(one, Ok(vec![Some(23.125), None]));
        assert_eq!(none, Err(DeviceErrorKind::NotFound));
        assert_eq!(back, Ok(vec![None, Some(23.125)]));
    }

    #[test]
    fn several_thermometers_of_a_bus_convert_together() {
        let one = bus(&[("28-01", "w1_slave", GOOD), ("w1_bus_master1", "therm_bulk_read", "0\n")]);
        let two = bus(&[
            ("28-01", "w1_slave", GOOD),
            ("10-02", "w1_slave", GOOD),
            ("w1_bus_master1", "therm_bulk_read", "0\n"),
            ("w1_bus_master2", "therm_bulk_read", "0\n"),
        ]);
        let trigger = |folder: &tempfile::TempDir, bus: &str| {
            fs::read_to_string(folder.path().join(bus).join("therm_bulk_read")).unwrap()
        };

        open(&one, &[]).unwrap().sense().unwrap();
        open(&two, &[]).unwrap().sense().unwrap();

        assert_eq!(trigger(&one, "w1_bus_master1"), "0\n");
        assert_eq!(trigger(&two, "w1_bus_master1"), "trigger\n");
        assert_eq!(trigger(&two, "w1_bus_master2"), "trigger\n");
    }

    #[test]
    fn the_temperature_file_is_read_where_there_is_no_scratchpad() {
        let value = |text: &str| {
            let folder = bus(&[("28-01", "temperature", text)]);
            measure(folder.path(), "28-01").map_err(|error| error.kind())
        };

        assert_eq!(value("-1062\n"), Ok(-1.062));
        assert_eq!(value("85000\n"), Err(DeviceErrorKind::OutOfRange));
        assert_eq!(value(""), Err(DeviceErrorKind::Bus));
        assert_eq!(value("warm\n"), Err(DeviceErrorKind::InvalidData));
    }

    #[test]
    fn a_bus_without_thermometers_is_an_error_with_advice() {
        let error = |folder: &Path| W1::in_folder(folder.to_owned(), Vec::new()).unwrap_err().to_string();

        assert!(error(Path::new("/nowhere")).contains("dtoverlay=w1-gpio"));
        assert!(error(bus(&[("w1_bus_master1", "w1_master_name", "")]).path()).contains("pull-up"));
        for id in ["28-../etc", "01-00000000", "28", "28-", "28-ABC"] {
            assert_eq!(open(&bus(&[]), &[id]).unwrap_err().kind(), DeviceErrorKind::Refused, "{id}");
        }
    }
}
