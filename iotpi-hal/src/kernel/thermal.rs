//! Thermal zones of the kernel: the temperatures of the processor and of other parts of the board.
//!
//! Values are in thousandths of a degree Celsius (Documentation/ABI/testing/sysfs-class-thermal). A zone is
//! found by its type, such as `cpu-thermal`, never by its number.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no thermal zone` | a virtual machine, or a kernel without a driver of the board's sensor |
//!
//! # Deliberately absent
//! Cooling devices and trip points, which the kernel controls.

use std::path::PathBuf;

use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample, model::reading::SeriesSpec};

use super::{Sysfs, quantities, series, text_in};
use crate::drivers::BlockingSensor;

const FOLDER: &str = "sys/class/thermal";

/// The driver.
///
/// ```
/// use iotpi_core::DeviceErrorKind;
/// use iotpi_hal::{drivers::BlockingSensor, kernel::{Sysfs, thermal::Thermal}};
///
/// match Thermal::open(Sysfs::new(), Some("cpu-thermal")) {
///     Ok(mut processor) => println!("{:?}", processor.sense()),
///     Err(error) => assert_eq!(error.kind(), DeviceErrorKind::NotFound),
/// }
/// ```
#[derive(Debug)]
pub struct Thermal {
    sysfs: Sysfs,
    zones: Vec<(String, SeriesSpec)>,
}

impl Thermal {
    /// Opens the zone of this type, or all zones, each with its type as its channel.
    ///
    /// # Errors
    /// [`DeviceErrorKind::NotFound`]: there is no such zone.
    pub fn open(sysfs: Sysfs, zone: Option<&str>) -> Result<Self, DeviceError> {
        let types: Vec<String> = zones(&sysfs).into_iter().map(|(_, kind)| kind).collect();
        let mut wanted: Vec<String> =
            types.iter().filter(|kind| zone.is_none_or(|zone| *kind == zone)).cloned().collect();
        wanted.sort();
        wanted.dedup();
        if wanted.is_empty() {
            return Err(not_found(zone, &types));
        }
        let found = wanted.iter().map(|kind| (Quantity::Temperature, kind.clone())).collect();
        Ok(Self { sysfs, zones: wanted.into_iter().zip(series::distinguish(found)).collect() })
    }

    fn value(&self, kind: &str) -> Result<f64, DeviceError> {
        let zones = zones(&self.sysfs);
        match zones.iter().find(|(_, found)| found == kind) {
            Some((folder, _)) => Ok(self.sysfs.number(&folder.join("temp"))? / 1000.0),
            None => Err(not_found(Some(kind), &[])),
        }
    }
}

/// The folders of all zones, with their types.
pub(crate) fn zones(sysfs: &Sysfs) -> Vec<(PathBuf, String)> {
    let zones = sysfs.entries(FOLDER).into_iter().filter(|folder| folder.join("temp").exists());
    zones.filter_map(|folder| Some((folder.clone(), text_in(&folder.join("type"))?))).collect()
}

fn not_found(zone: Option<&str>, types: &[String]) -> DeviceError {
    let zone = zone.map(|zone| format!(" of type `{zone}`")).unwrap_or_default();
    let others = if types.is_empty() { String::new() } else { format!(": there is {}", types.join(", ")) };
    DeviceError::new(DeviceErrorKind::NotFound, format!("no thermal zone{zone}{others}"))
}

impl BlockingSensor for Thermal {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Temperature; self.zones.len()]
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.zones.iter().map(|(_, series)| series.clone()).collect()
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        series::samples(self.zones.iter().map(|(kind, series)| {
            (series.clone(), self.value(kind).map(|value| quantities::sample(series, value)))
        }))
    }
}
