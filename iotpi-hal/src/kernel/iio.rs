//! Sensors and converters with a driver of the kernel's industrial I/O subsystem (IIO).
//!
//! # Values
//! A channel has the file `in_NAME_input`, in the unit of the ABI, or `in_NAME_raw`. A raw value becomes
//! `(raw + offset) × scale`; the files of offset and scale belong to the channel, or to all channels of its
//! type or of the device. Where there is no offset it is 0, and where there is no scale it is 1
//! (Documentation/ABI/testing/sysfs-bus-iio). The value is then converted to the unit of the quantity.
//!
//! | type in the ABI | quantity | from → to |
//! |---|---|---|
//! | `temp` | temperature | m°C → °C |
//! | `humidityrelative` | humidity | m% → % |
//! | `pressure` | pressure | kPa → Pa |
//! | `illuminance` | illuminance | lx |
//! | `voltage`, `current`, `power` | voltage, current, power | mV, mA, mW → V, A, W |
//! | `distance` | distance | m |
//! | `concentration_co2`, `concentration_voc`, ... | co2, voc, ... | % → ppm |
//! | `massconcentration_pm1`, `_pm2p5`, ... | pm1, pm2-5, ... | µg/m³ |
//! | `resistance` | resistance | Ω |
//! | `accel`, `gravity` | acceleration, gravity | m/s² |
//! | `anglvel` | angular-velocity | rad/s |
//! | `magn` | magnetic-field | gauss |
//! | `intensity`, `proximity`, `ph`, `uvindex` | the same | no unit |
//! | `energy`, `capacitance`, `angl`, `incli`, `velocity`, `electricalconductivity`, `count`, `steps` | | J, nF, rad, degrees, m/s, S/m, 1, 1 |
//!
//! Two drivers of the kernel deviate from the ABI. They are corrected: the concentrations of `sgp30` and
//! `sgpc3` are fractions of 1, and the humidity of `bme680` is in per cent (drivers/iio/chemical).
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no IIO device` | the overlay is missing in `/boot/firmware/config.txt`; `dmesg` shows a chip that did not answer when the kernel looked for it |
//! | `not found: 2 devices` | two chips of one name: set `device` |
//! | `timeout` | the chip did not answer the kernel, or has no new measurement yet: read it less often |
//! | `bus` | a loose wire; a checksum error, which the kernel reports as an I/O error |
//! | `bus: ... is busy` | the chip has just started; a program reads the device through its buffer |
//! | `out of range` | no such value is possible: a wire of an analogue sensor is loose |
//!
//! # Deliberately absent
//! Output channels; the orientation of the chip (`mount_matrix`): values are those of the axes of the chip.

mod channel;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample, model::reading::SeriesSpec};

use self::channel::{IioChannel, channel_of, unit_correction};
use super::{DeviceFilter, Sysfs, name_of, quantities, series, sysfs::entries, text_in};
use crate::drivers::BlockingSensor;

pub(crate) const FOLDER: &str = "sys/bus/iio/devices";

/// A linear function of a channel's value, for what an analogue sensor measures: `value × scale + offset` in
/// the unit of `quantity`, of a value in the canonical unit of the channel (volt).
#[derive(Debug, Clone, PartialEq)]
pub struct LinearScale {
    /// The quantity of the result.
    pub quantity: Quantity,
    /// The factor.
    pub scale: f64,
    /// The result of the value 0.
    pub offset: f64,
}

/// The channels of a device, and what they measure.
///
/// ```
/// use iotpi_hal::kernel::iio::IioConfig;
///
/// // The first two inputs of an ADS1115.
/// let config = IioConfig { channels: vec!["voltage0".into(), "voltage1".into()], ..IioConfig::default() };
/// assert!(config.scales.is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IioConfig {
    /// The names of the channels in the ABI: `temp`, `voltage0`, `accel_x`. Empty: all channels of the
    /// device, which must then be present when it is opened.
    pub channels: Vec<String>,
    /// Functions of the values of channels, by the name of the channel.
    pub scales: BTreeMap<String, LinearScale>,
}

/// The driver. It reads the device that its filter matches at that moment.
///
/// ```
/// use iotpi_core::DeviceErrorKind;
/// use iotpi_hal::{drivers::BlockingSensor, kernel::{DeviceFilter, Sysfs, iio::{Iio, IioConfig}}};
///
/// match Iio::open(Sysfs::new(), DeviceFilter::named("bme280"), IioConfig::default()) {
///     Ok(mut chip) => println!("{:?}", chip.sense()),
///     Err(error) => assert_eq!(error.kind(), DeviceErrorKind::NotFound),
/// }
/// ```
#[derive(Debug)]
pub struct Iio {
    sysfs: Sysfs,
    filter: DeviceFilter,
    channels: Vec<(IioChannel, Option<LinearScale>, SeriesSpec)>,
}

impl Iio {
    /// Opens the device. With names of channels in the config it need not be present yet.
    ///
    /// # Errors
    /// - [`DeviceErrorKind::NotFound`]: no device matches, or several do.
    /// - [`DeviceErrorKind::Refused`]: the ABI has no such channel, or the device has no channel at all.
    pub fn open(sysfs: Sysfs, filter: DeviceFilter, config: IioConfig) -> Result<Self, DeviceError> {
        let folder = filter.find("IIO device", sysfs.entries(FOLDER));
        let names = match (&folder, config.channels.is_empty()) {
            (Ok(folder), true) => channel_names(folder),
            (Err(_), true) => return Err(folder.err().unwrap_or_else(|| refused("no device"))),
            (_, false) => config.channels,
        };
        let folder = folder.ok();
        let mut channels = Vec::new();
        for name in names {
            let channel = IioChannel::parse(&name)
                .ok_or_else(|| refused(format!("`{name}` is not a channel with a number in a known unit")))?;
            let label = folder.as_ref().and_then(|folder| text_in(&folder.join(format!("in_{name}_label"))));
            channels.push((channel, label));
        }
        if channels.is_empty() {
            return Err(refused(format!("the IIO device with {filter} has no input channel")));
        }
        if let Some(name) = config.scales.keys().find(|name| !channels.iter().any(|(c, _)| c.name == **name))
        {
            return Err(refused(format!("the device has no channel `{name}`, for which a scale is given")));
        }
        Ok(Self { sysfs, filter, channels: with_series(channels, config.scales) })
    }

    fn value(&self, folder: &Path, channel: &IioChannel) -> Result<f64, DeviceError> {
        let input = folder.join(format!("in_{}_input", channel.name));
        match self.sysfs.number(&input) {
            Err(error) if error.kind() == DeviceErrorKind::NotFound && !input.exists() => {}
            Err(error) => return Err(error),
            Ok(value) => {
                let chip = name_of(folder).unwrap_or_default();
                return Ok(value * channel.factor * unit_correction(&chip, &channel.name));
            }
        }
        let raw = self.sysfs.number(&folder.join(format!("in_{}_raw", channel.name)))?;
        let offset = self.shared(folder, channel, "offset")?.unwrap_or(0.0);
        let scale = self.shared(folder, channel, "scale")?.unwrap_or(1.0);
        Ok((raw + offset) * scale * channel.factor)
    }

    /// The scale or the offset of a channel, if it has one.
    fn shared(
        &self,
        folder: &Path,
        channel: &IioChannel,
        attribute: &str,
    ) -> Result<Option<f64>, DeviceError> {
        let file = channel.shared_files(attribute).map(|name| folder.join(name)).find(|file| file.exists());
        file.map(|file| self.sysfs.number(&file)).transpose()
    }
}

/// The names of the channels of a device in a fixed order. Those without a quantity are left out.
pub(crate) fn channel_names(folder: &Path) -> Vec<String> {
    let attributes = entries(folder);
    let names = attributes.iter().filter_map(|path| channel_of(path.file_name()?.to_str()?));
    let names: BTreeSet<_> = names.filter(|name| has_quantity(folder, name)).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Whether the values of a channel have a unit. The raw signals of gas sensors have none: their
/// concentrations have neither a scale nor a processed value.
fn has_quantity(folder: &Path, name: &str) -> bool {
    let Some(channel) = IioChannel::parse(name) else { return false };
    let is_signal = name.starts_with("concentration") && !folder.join(format!("in_{name}_input")).exists();
    !is_signal || channel.shared_files("scale").any(|file| folder.join(file).exists())
}

fn with_series(
    channels: Vec<(IioChannel, Option<String>)>,
    mut scales: BTreeMap<String, LinearScale>,
) -> Vec<(IioChannel, Option<LinearScale>, SeriesSpec)> {
    let scales: Vec<_> = channels.iter().map(|(channel, _)| scales.remove(&channel.name)).collect();
    let found = channels.iter().zip(&scales).map(|((channel, label), scale)| {
        let quantity = scale.as_ref().map_or(&channel.quantity, |scale| &scale.quantity);
        (quantity.clone(), label.clone().unwrap_or_else(|| channel.suffix.clone()))
    });
    let series = series::distinguish(found.collect());
    channels
        .into_iter()
        .zip(scales)
        .zip(series)
        .map(|(((channel, _), scale), series)| (channel, scale, series))
        .collect()
}

fn refused(message: impl Into<String>) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Refused, message)
}

impl BlockingSensor for Iio {
    fn quantities(&self) -> Vec<Quantity> {
        self.channels.iter().map(|(_, _, series)| series.quantity.clone()).collect()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.channels.iter().map(|(_, _, series)| series.clone()).collect()
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let folder = self.filter.find("IIO device", self.sysfs.entries(FOLDER))?;
        series::samples(self.channels.iter().map(|(channel, scale, series)| {
            let value = self.value(&folder, channel).map(|value| match scale {
                Some(scale) => value * scale.scale + scale.offset,
                None => value,
            });
            (series.clone(), value.map(|value| quantities::sample(series, value)))
        }))
    }
}
