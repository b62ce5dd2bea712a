//! Drivers of devices that the Linux kernel drives already: plain files below `/sys`, read with no code for
//! the chip.
//!
//! | module | folder | devices |
//! |---|---|---|
//! | [`iio`] | `/sys/bus/iio/devices` | most sensors and analogue-digital converters |
//! | [`hwmon`] | `/sys/class/hwmon` | thermometers, fans, supply monitors |
//! | [`w1`] | `/sys/bus/w1/devices` | 1-Wire thermometers |
//! | [`thermal`] | `/sys/class/thermal` | temperatures of the processor |
//! | [`power_supply`] | `/sys/class/power_supply` | batteries, fuel gauges, mains |
#![cfg_attr(feature = "linux", doc = "| [`input`] | `/dev/input` | buttons, rotary encoders |")]
#![cfg_attr(feature = "tokio", doc = "| [`leds`] | `/sys/class/leds` | lamps with a kernel driver |")]
//!
//! A device is found by its name, its label, or the kernel's name of its place on the bus ([`DeviceFilter`]),
//! never by its number: numbers change from one start to the next. It is looked up at each read. A device
//! that is unplugged is therefore an error until it is back, under whatever number.
//!
//! All files are read below a folder, [`Sysfs`]: `/`, or in a test a tree of the same files.
//!
//! Deliberately absent: buffers and triggers of IIO (a few readings a second do not need them), and settings
//! of chips: a udev rule writes those (`docs/howto/kernel-sensors.md`).

mod finder;
pub mod hwmon;
pub mod iio;
#[cfg(feature = "linux")]
pub mod input;
#[cfg(feature = "tokio")]
pub mod leds;
pub mod power_supply;
mod quantities;
mod series;
mod sysfs;
pub mod thermal;
pub mod w1;

pub use finder::DeviceFilter;
pub use sysfs::Sysfs;

pub(crate) use finder::{bus_name, name_of, pwm_chips};
#[cfg(feature = "tokio")]
pub(crate) use sysfs::write;
pub(crate) use sysfs::{number_in, text_in};

pub(crate) const LEDS_FOLDER: &str = "sys/class/leds";
