//! Finds a device among those of a class, without its number.

use std::{
    fs,
    path::{Path, PathBuf},
};

use iotpi_core::{DeviceError, DeviceErrorKind};

use super::{Sysfs, text_in};

/// The properties that identify a device. Those that are given must all match.
///
/// ```
/// use iotpi_hal::kernel::DeviceFilter;
///
/// let second = DeviceFilter { device: Some("1-0077".to_owned()), ..DeviceFilter::named("bme280") };
/// assert_eq!(second.to_string(), "name `bme280`, device `1-0077`");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// The content of the file `name`: the chip, such as `bme280`. A name such as `dht11@4` matches both as a
    /// whole and without the part from `@` on.
    pub name: Option<String>,
    /// The content of the file `label`, which a device tree overlay may set.
    pub label: Option<String>,
    /// The kernel's name of the device on its bus: `1-0076` (I2C bus 1, address 0x76), `spi0.0`, or the name
    /// of a platform device such as `dht11@4`.
    pub device: Option<String>,
}

impl DeviceFilter {
    /// Matches devices of this name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// The one device that matches, among the folders of a class. `class` is its name in the errors.
    pub(crate) fn find(&self, class: &str, folders: Vec<PathBuf>) -> Result<PathBuf, DeviceError> {
        let mut found: Vec<_> = folders.iter().filter(|folder| self.matches(folder)).collect();
        match found.len() {
            1 => Ok(found.remove(0).clone()),
            0 => Err(not_found(format!("no {class} with {self}: there {}", listed(&folders)))),
            n => {
                let devices: Vec<_> = found.iter().filter_map(|folder| bus_name(folder)).collect();
                let message = format!(
                    "{n} devices of {class} with {self}: choose one with `device`, of {}",
                    devices.join(", ")
                );
                Err(not_found(message))
            }
        }
    }

    fn matches(&self, folder: &Path) -> bool {
        let same = |wanted: &Option<String>, file: &str| match wanted {
            Some(wanted) => text_in(&folder.join(file)).is_some_and(|text| is_name(&text, wanted)),
            None => true,
        };
        same(&self.name, "name")
            && same(&self.label, "label")
            && self.device.as_ref().is_none_or(|wanted| is_on(folder, wanted))
    }
}

impl std::fmt::Display for DeviceFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [("name", &self.name), ("label", &self.label), ("device", &self.device)];
        let given: Vec<_> =
            parts.iter().filter_map(|(key, value)| Some(format!("{key} `{}`", value.as_ref()?))).collect();
        f.write_str(if given.is_empty() { "any name" } else { "" })?;
        f.write_str(&given.join(", "))
    }
}

fn not_found(message: String) -> DeviceError {
    DeviceError::new(DeviceErrorKind::NotFound, message)
}

fn is_name(text: &str, wanted: &str) -> bool {
    text == wanted || text.split('@').next() == Some(wanted)
}

/// Whether a part of the real path of a device is this name: the device, or the one it is connected to.
fn is_on(folder: &Path, wanted: &str) -> bool {
    fs::canonicalize(folder).is_ok_and(|path| path.iter().any(|part| part == wanted))
}

fn listed(folders: &[PathBuf]) -> String {
    let names: Vec<_> = folders.iter().filter_map(|folder| name_of(folder)).collect();
    match names.len() {
        0 => "is none at all. Add its overlay to /boot/firmware/config.txt and reboot, and check the wiring"
            .to_owned(),
        _ => format!("is {}", names.join(", ")),
    }
}

/// The name of the chip.
pub(crate) fn name_of(folder: &Path) -> Option<String> {
    text_in(&folder.join("name"))
}

/// The kernel's name of the device on its bus, such as `1-0076`. A device of a class has a link to it; a
/// device of IIO is in its folder.
pub(crate) fn bus_name(folder: &Path) -> Option<String> {
    let device = fs::canonicalize(folder.join("device"));
    let device = device.or_else(|_| fs::canonicalize(folder.join(".."))).ok()?;
    Some(device.file_name()?.to_str()?.to_owned())
}

/// The PWM chips, each with the kernel's name of its controller.
pub(crate) fn pwm_chips(sysfs: &Sysfs) -> Vec<(String, PathBuf)> {
    let chips = sysfs.entries("sys/class/pwm").into_iter();
    chips.filter_map(|chip| Some((bus_name(&chip)?, chip))).collect()
}
