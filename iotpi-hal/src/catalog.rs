//! The catalog: the table of all drivers, and the functions that open a device from a table of settings.
//!
//! A new device needs a driver, a simulated device and one entry in the file of its kind. Settings are plain tables, as a program
//! reads them from TOML or JSON; unknown keys are an error.
//!
//! ```
//! # #[cfg(feature = "sim")] {
//! use iotpi_core::SystemClock;
//! use iotpi_hal::catalog::{self, Device, Setup};
//!
//! let settings = serde_json::json!({"bus": "sim", "pin": 17});
//! let device = catalog::open("led", settings, &Setup::new(SystemClock::shared()))?;
//! assert!(matches!(device, Device::Actuator(_)));
//! # }
//! # Ok::<(), iotpi_hal::catalog::OpenError>(())
//! ```

use std::{fmt, path::PathBuf, sync::Arc};

use iotpi_core::{Actuator, Camera, Clock, DeviceError, DeviceErrorKind, Sensor, SystemClock};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::settings_shape::SettingsShape;
use crate::bus::Bus;
#[cfg(feature = "sim")]
use crate::sim::World;

mod actuators;
#[cfg(feature = "camera")]
mod cameras;
#[cfg(feature = "sim")]
mod check;
mod chips;
mod connections;
mod i2c;
mod inputs;
mod kernel;
mod pin;
mod pin_chips;
mod pins;
mod sensors;
mod settings_shape;

pub use actuators::{LedSettings, Pca9685Settings, PwmOutput, RelayPin, RelaySettings, ServoSettings};
#[cfg(feature = "camera")]
pub use cameras::{ReplaySettings, RpicamSettings, TestCardSettings};
#[cfg(feature = "v4l")]
pub use cameras::{V4lControlsSettings, V4lSettings};
#[cfg(feature = "sim")]
pub use check::SettingsFault;
pub use chips::{Ads1115Input, Ads1115Settings, Ina219Settings};
pub use connections::Connection;
pub use i2c::I2cSettings;
pub use inputs::{ContactSettings, CounterSettings, MotionSettings};
#[cfg(feature = "linux")]
pub use kernel::InputSettings;
pub use kernel::{
    HwmonSettings, IioSettings, LedsSettings, LinearScaleSettings, PowerSupplySettings, PwmSettings,
    ThermalSettings, W1Settings,
};
pub use pin::Pin;
pub use pin_chips::{Hcsr04Settings, Hx711Settings};
pub use sensors::{Bme280Settings, Ds18b20Settings, SystemSettings};

/// A device opened by the catalog.
#[non_exhaustive]
pub enum Device {
    /// A sensor, which the module reads.
    Sensor(Box<dyn Sensor>),
    /// An actuator, which carries out actions.
    Actuator(Box<dyn Actuator>),
    /// A camera, which captures frames.
    Camera(Box<dyn Camera>),
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sensor(_) => "Sensor",
            Self::Actuator(_) => "Actuator",
            Self::Camera(_) => "Camera",
        })
    }
}

/// The error of opening a device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// This build has no driver of this name.
    #[error("there is no driver `{name}`; there are {}", names())]
    UnknownDriver {
        /// The requested name.
        name: String,
    },
    /// The settings do not match the driver.
    #[error("the settings of driver `{driver}` are wrong")]
    Settings {
        /// The driver that rejected the settings.
        driver: &'static str,
        /// The deserialization error.
        #[source]
        source: serde_json::Error,
    },
    /// The device, its bus or its pin cannot be used.
    #[error("driver `{driver}` cannot be opened")]
    Device {
        /// The driver of the device.
        driver: &'static str,
        /// The error of the device.
        #[source]
        source: DeviceError,
    },
}

/// The clock and the simulated world that devices are opened with.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{catalog::{self, Device, Setup}, sim::{Weather, World}};
/// use serde_json::json;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let setup = Setup::in_world(World::still(Weather { temperature: -4.0, ..Weather::default() }));
/// let Device::Sensor(mut sensor) = catalog::open("ds18b20", json!({"bus": "sim"}), &setup)? else {
///     panic!("a DS18B20 is a sensor");
/// };
/// assert_eq!(sensor.read().await?[0].outcome.value(), Some(-4.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Setup {
    // Cameras and simulated inputs need it.
    #[cfg_attr(not(any(feature = "sim", feature = "camera")), allow(dead_code))]
    clock: Arc<dyn Clock>,
    state_folder: Option<PathBuf>,
    #[cfg(feature = "sim")]
    world: Arc<World>,
}

impl Setup {
    /// A setup with this clock and a new simulated world on that clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            #[cfg(feature = "sim")]
            world: World::new(1, Arc::clone(&clock)),
            state_folder: None,
            clock,
        }
    }

    /// A setup with a simulated world and its clock: simulated devices of one world measure the same weather.
    #[cfg(feature = "sim")]
    #[must_use]
    pub fn in_world(world: Arc<World>) -> Self {
        Self { clock: Arc::clone(world.clock()), state_folder: None, world }
    }

    /// Sets the folder in which drivers keep state across restarts: the totals of counters. The folder must
    /// exist, and belong to one module.
    #[must_use]
    pub fn with_state_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state_folder = Some(folder.into());
        self
    }
}

/// One entry of the catalog.
///
/// ```
/// let entry = iotpi_hal::catalog::find("bme280").unwrap();
/// assert_eq!(entry.offers, ["temperature", "humidity", "pressure"]);
/// ```
#[derive(Debug)]
pub struct CatalogEntry {
    /// The driver's name in settings.
    pub name: &'static str,
    /// A title for people.
    pub title: &'static str,
    /// The quantities it measures or the actions it carries out. A machine may provide fewer of the
    /// quantities. For a driver of many chips, those of its example.
    pub offers: &'static [&'static str],
    /// The connector or interface of the device.
    pub connects: &'static str,
    /// The buses that can open it; empty for a device without a bus.
    pub buses: &'static [Bus],
    /// Settings, as TOML, that open the simulated device, or the device without hardware.
    pub example: &'static str,
    /// The path of its README in the repository: wiring and use.
    pub readme: &'static str,
    open: fn(Value, &Setup) -> Result<Device, Failure>,
}

/// The entries of this build.
pub fn entries() -> impl Iterator<Item = &'static CatalogEntry> {
    let sensors = sensors::ENTRIES
        .iter()
        .chain(chips::ENTRIES)
        .chain(pin_chips::ENTRIES)
        .chain(inputs::ENTRIES)
        .chain(kernel::ENTRIES);
    let entries = sensors.chain(actuators::ENTRIES);
    #[cfg(feature = "camera")]
    let entries = entries.chain(cameras::ENTRIES);
    entries
}

/// Finds the entry of a driver.
#[must_use]
pub fn find(driver: &str) -> Option<&'static CatalogEntry> {
    entries().find(|entry| entry.name == driver)
}

/// Opens a device by its driver's name and its settings, an object.
///
/// A sensor that does not answer yet opens successfully and returns the error when it is read: it may be
/// connected later. A bus or pin that cannot be used is an error here.
///
/// # Errors
/// [`OpenError`].
pub fn open(driver: &str, settings: impl Into<Value>, setup: &Setup) -> Result<Device, OpenError> {
    find(driver).ok_or_else(|| OpenError::UnknownDriver { name: driver.to_owned() })?.open(settings, setup)
}

impl CatalogEntry {
    /// Opens a device with settings, an object.
    ///
    /// # Errors
    /// [`OpenError::Settings`] or [`OpenError::Device`].
    pub fn open(&self, settings: impl Into<Value>, setup: &Setup) -> Result<Device, OpenError> {
        let driver = self.name;
        (self.open)(settings.into(), setup).map_err(|failure| match failure {
            Failure::Settings { source, .. } => OpenError::Settings { driver, source },
            Failure::NotBuilt(source) | Failure::Device(source) => OpenError::Device { driver, source },
        })
    }

    /// The keys of the driver's settings, in the order of its settings type.
    ///
    /// ```
    /// assert_eq!(iotpi_hal::catalog::find("bmp280").unwrap().keys(), ["bus", "i2c", "address"]);
    /// ```
    #[must_use]
    pub fn keys(&self) -> &'static [&'static str] {
        self.shape().keys
    }

    /// The shape of the driver's settings.
    fn shape(&self) -> SettingsShape {
        // No settings type is read from null, and an opening function reads the settings first.
        match (self.open)(Value::Null, &Setup::new(SystemClock::shared())) {
            Err(Failure::Settings { shape, .. }) => shape(),
            _ => SettingsShape::default(),
        }
    }
}

fn names() -> String {
    entries().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}

/// The error of an opening function, which does not know the name of its driver.
#[derive(Debug)]
enum Failure {
    Settings {
        source: serde_json::Error,
        /// The shape of the settings type.
        shape: fn() -> SettingsShape,
    },
    /// The device has no such bus, or this build has none.
    NotBuilt(DeviceError),
    Device(DeviceError),
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

fn read<S: DeserializeOwned>(settings: Value) -> Result<S, Failure> {
    serde_json::from_value(settings)
        .map_err(|source| Failure::Settings { source, shape: settings_shape::shape::<S> })
}

fn not_built(bus: Bus) -> Failure {
    let word = bus.as_str();
    let message = if bus.is_built() {
        format!("this device has no bus `{word}`")
    } else {
        format!("this program was built without bus `{word}`: build it with `--features {word}`")
    };
    Failure::NotBuilt(DeviceError::new(DeviceErrorKind::Refused, message))
}

fn wrong(message: impl Into<String>) -> Failure {
    Failure::Device(DeviceError::new(DeviceErrorKind::Refused, message))
}
