//! Maxim DS18B20 thermometer on the kernel's 1-Wire bus.
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
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no thermometer` | the overlay; the pull-up resistor; DQ and GND swapped |
//! | `bus` | a loose wire; DQ shorted to ground reads as all zeros |
//! | `checksum` | a long or star-shaped cable; a pull-up that is too weak (try 2.2 kilo-ohm) |
//! | `out of range: 85 °C` | the value after power-on: the chip lost power during the measurement. Connect VDD, do not use parasitic power |
//!
//! # 85 °C
//! After power-on the scratchpad contains 85.000 °C, which is also a valid temperature. Byte 6 of the
//! scratchpad distinguishes the two, by the rule of the kernel's own check
//! (Documentation/w1/slaves/w1_therm.rst, `features`): it is 0x0C until the first conversion. A conversion
//! sets it to 0x10 less the sixteenths of a degree; for 85.000 °C to 0x10. Clones that always leave 0x0C
//! there cannot report 85.000 °C. They report the neighbouring values 84.9375 °C and 85.0625 °C.
//!
//! # Deliberately absent
//! Setting the resolution:
//! the default of the chip is 12 bits. A 1-Wire driver of our own: the timing is in microseconds, which
//! belongs in the kernel.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample};

use crate::drivers::BlockingSensor;

/// The sysfs folder of the 1-Wire devices.
pub const KERNEL_FOLDER: &str = "/sys/bus/w1/devices";

/// The value in the scratchpad after power-on, in thousandths of a degree.
const POWER_ON_MILLIDEGREES: i32 = 85_000;
/// Byte 6 of the scratchpad between power-on and the first conversion.
const POWER_ON_BYTE_6: &str = "0c";

/// The driver. One reading takes 750 ms: the kernel starts the conversion when the file is read.
///
/// ```
/// use iotpi_core::DeviceErrorKind;
/// use iotpi_hal::drivers::ds18b20::Ds18b20;
///
/// let thermometer = Ds18b20::new(Some("28-0316a2790c1b".to_owned()));
/// match thermometer.measure() {
///     Ok(celsius) => println!("{celsius:.1} °C"),
///     Err(error) if error.kind() == DeviceErrorKind::NotFound => println!("{error}"),
///     Err(error) => return Err(error),
/// }
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Ds18b20 {
    folder: PathBuf,
    id: Option<String>,
}

impl Ds18b20 {
    /// The thermometer with this id (`28-00000abcdef0`); without an id, the only thermometer on the bus.
    #[must_use]
    pub fn new(id: Option<String>) -> Self {
        Self::in_folder(KERNEL_FOLDER, id)
    }

    /// The same with another folder in place of the kernel's.
    pub fn in_folder(folder: impl Into<PathBuf>, id: Option<String>) -> Self {
        Self { folder: folder.into(), id }
    }

    /// Measures once, in degrees Celsius, -55 to 125.
    ///
    /// # Errors
    /// - [`DeviceErrorKind::NotFound`]: no such thermometer, or several thermometers and no id.
    /// - [`DeviceErrorKind::Bus`]: the kernel got no answer, or only zeros.
    /// - [`DeviceErrorKind::Checksum`]: the answer was corrupted.
    /// - [`DeviceErrorKind::OutOfRange`]: the value after power-on, or a value outside the range of the chip.
    pub fn measure(&self) -> Result<f64, DeviceError> {
        let file = self.device()?.join("w1_slave");
        let text = fs::read_to_string(&file).map_err(|e| read_error(&file, e))?;
        parse(&text)
    }

    fn device(&self) -> Result<PathBuf, DeviceError> {
        if let Some(id) = &self.id {
            return Ok(self.folder.join(id));
        }
        let folder = self.folder.display();
        let entries = fs::read_dir(&self.folder).map_err(|e| {
            let message = format!(
                "no 1-Wire bus at {folder}: add `dtoverlay=w1-gpio` to /boot/firmware/config.txt and reboot"
            );
            DeviceError::new(DeviceErrorKind::NotFound, message).with_source(e)
        })?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("28-")))
            .collect();
        found.sort();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(DeviceError::new(
                DeviceErrorKind::NotFound,
                format!("no thermometer in {folder}: look at the wiring and the 4.7 kilo-ohm pull-up"),
            )),
            n => {
                let names: Vec<_> = found.iter().filter_map(|p| p.file_name()?.to_str()).collect();
                let message =
                    format!("{n} thermometers in {folder}, name one by its id: {}", names.join(", "));
                Err(DeviceError::new(DeviceErrorKind::NotFound, message))
            }
        }
    }
}

fn read_error(file: &Path, error: io::Error) -> DeviceError {
    let file = file.display();
    let (kind, message) = match error.kind() {
        io::ErrorKind::NotFound => {
            (DeviceErrorKind::NotFound, format!("no thermometer at {file}: unplugged?"))
        }
        io::ErrorKind::PermissionDenied => {
            (DeviceErrorKind::PermissionDenied, format!("permission to read {file} denied"))
        }
        _ => (DeviceErrorKind::Bus, format!("the kernel got no answer for {file}")),
    };
    DeviceError::new(kind, message).with_source(error)
}

/// Parses the two lines of the kernel: `72 01 4b 46 7f ff 0e 10 57 : crc=57 YES` and `72 01 4b 46 7f ff 0e 10
/// 57 t=23125`.
fn parse(text: &str) -> Result<f64, DeviceError> {
    let bus = |message: &str| DeviceError::new(DeviceErrorKind::Bus, message);
    let mut lines = text.lines();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return Err(bus("the kernel got no answer from the thermometer"));
    };
    if !first.trim_end().ends_with("YES") {
        return Err(DeviceError::new(
            DeviceErrorKind::Checksum,
            "the thermometer's answer was garbled on the wire",
        ));
    }
    let millidegrees: i32 = second
        .rsplit_once("t=")
        .and_then(|(_, number)| number.trim().parse().ok())
        .ok_or_else(|| bus("the kernel shows no temperature"))?;
    // A bus shorted to ground reads as zeros. The checksum of zeros is also zero.
    if first.split_whitespace().take(9).all(|byte| byte == "00") {
        return Err(bus("the bus reads as zeros: DQ is shorted to ground"));
    }
    let is_unconverted =
        first.split_whitespace().nth(6).is_some_and(|byte| byte.eq_ignore_ascii_case(POWER_ON_BYTE_6));
    if millidegrees == POWER_ON_MILLIDEGREES && is_unconverted {
        return Err(DeviceError::new(
            DeviceErrorKind::OutOfRange,
            "85 °C is the value after power-on: the thermometer lost power while it measured",
        ));
    }
    if !(-55_000..=125_000).contains(&millidegrees) {
        let message = format!("{} °C is outside -55 to 125", f64::from(millidegrees) / 1000.0);
        return Err(DeviceError::new(DeviceErrorKind::OutOfRange, message));
    }
    Ok(f64::from(millidegrees) / 1000.0)
}

impl BlockingSensor for Ds18b20 {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Temperature]
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        Ok(vec![Sample::new(Quantity::Temperature, self.measure()?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> DeviceErrorKind {
        parse(text).unwrap_err().kind()
    }

    #[test]
    fn the_format_of_the_kernel_is_parsed() {
        let text = "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n";

        assert!((parse(text).unwrap() - 23.125).abs() < 1e-9);
        assert!((parse(&text.replace("23125", "-1062")).unwrap() + 1.062).abs() < 1e-9);
    }

    #[test]
    fn an_invalid_measurement_is_an_error() {
        let zeros = "00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n";
        let power_on = "50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n";

        assert_eq!(kind(""), DeviceErrorKind::Bus);
        assert_eq!(kind(zeros), DeviceErrorKind::Bus);
        assert_eq!(kind(power_on), DeviceErrorKind::OutOfRange);
        assert_eq!(kind(&power_on.replace("YES", "NO")), DeviceErrorKind::Checksum);
        assert_eq!(kind(&power_on.replace("85000", "127937")), DeviceErrorKind::OutOfRange);
        assert_eq!(kind(&power_on.replace("t=85000", "")), DeviceErrorKind::Bus);
    }

    #[test]
    fn a_measured_85_degrees_is_distinguished_from_the_value_after_power_on() {
        let measured = "50 05 4b 46 7f ff 10 10 bd : crc=bd YES\n50 05 4b 46 7f ff 10 10 bd t=85000\n";
        // A chip with 9-bit resolution, and a chip with different alarm limits.
        let coarse = measured.replace("4b 46 7f", "55 00 1f");
        let power_on = measured.replace("ff 10 10", "ff 0c 10");

        assert_eq!(parse(measured).unwrap(), 85.0);
        assert_eq!(parse(&coarse).unwrap(), 85.0);
        assert_eq!(kind(&power_on), DeviceErrorKind::OutOfRange);
        assert_eq!(kind(&power_on.replace("4b 46 7f", "55 00 1f")), DeviceErrorKind::OutOfRange);
        // 0x0C is also byte 6 of a measurement with a fraction of 4/16.
        assert_eq!(parse(&power_on.replace("50 05", "54 05").replace("85000", "85250")).unwrap(), 85.25);
    }

    #[test]
    fn with_several_thermometers_the_settings_must_name_one() {
        let folder = tempfile::tempdir().unwrap();
        for id in ["28-000000000001", "28-000000000002", "w1_bus_master1"] {
            fs::create_dir(folder.path().join(id)).unwrap();
        }

        let error = Ds18b20::in_folder(folder.path(), None).measure().unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound);
        assert!(error.to_string().contains("28-000000000001, 28-000000000002"), "{error}");
    }
}
