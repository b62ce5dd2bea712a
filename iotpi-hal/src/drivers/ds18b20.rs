//! One DS18B20 thermometer, or another one of the families that [`kernel::w1`](crate::kernel::w1) reads. That
//! page has the wiring, the boot configuration, the checks for each error, and how 85 °C is
//! distinguished from the value after power-on. To read several thermometers as one device, use it in place of this driver.

use std::path::PathBuf;

use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample};

use crate::{drivers::BlockingSensor, kernel::w1};

/// The sysfs folder of the 1-Wire devices.
pub const KERNEL_FOLDER: &str = "/sys/bus/w1/devices";

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

    /// Measures once, in degrees Celsius.
    ///
    /// # Errors
    /// - [`DeviceErrorKind::NotFound`]: no such thermometer, or several thermometers and no id.
    /// - [`DeviceErrorKind::Bus`]: the kernel got no answer, or only zeros.
    /// - [`DeviceErrorKind::Checksum`]: the answer was corrupted.
    /// - [`DeviceErrorKind::OutOfRange`]: the value after power-on, or a value outside the range of the chip.
    pub fn measure(&self) -> Result<f64, DeviceError> {
        w1::measure(&self.folder, &self.id()?)
    }

    fn id(&self) -> Result<String, DeviceError> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let mut found = w1::present(&self.folder)?;
        if let [_] = found[..] {
            return Ok(found.remove(0));
        }
        let (n, folder) = (found.len(), self.folder.display());
        let message = format!("{n} thermometers in {folder}, name one by its id: {}", found.join(", "));
        Err(DeviceError::new(DeviceErrorKind::NotFound, message))
    }
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
    use std::fs;

    use super::*;

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
