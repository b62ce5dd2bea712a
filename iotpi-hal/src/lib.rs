#![forbid(unsafe_code)]
// The examples of the README need simulated devices.
#![cfg_attr(feature = "sim", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "sim"),
    doc = "Drivers, board back ends, cameras and simulated devices for iotpi modules on a Raspberry Pi."
)]
//!
//! # Map
//! - [`drivers`]: one file for each chip or kind of device, generic over embedded-hal 1.0.
//! - [`kernel`]: drivers of what the Linux kernel drives already: IIO, hwmon, 1-Wire, thermal zones, power supplies.
//! - [`scan`]: lists the devices of this machine, with proposed settings.
#![cfg_attr(
    feature = "tokio",
    doc = "- [`bus`]: the back ends that open buses and pins. Their errors state how to fix the problem."
)]
#![cfg_attr(feature = "tokio", doc = "- [`blocking`]: runs a blocking driver as an async sensor.")]
#![cfg_attr(
    feature = "camera",
    doc = "- [`camera`]: test card, replay, the camera modules of a Raspberry Pi, V4L2."
)]
#![cfg_attr(
    feature = "sim",
    doc = "- [`sim`]: simulated chips, buses and pins below the drivers, and their simulated world."
)]
#![cfg_attr(
    feature = "sim",
    doc = "- [`testing`]: the contract of drivers as a test suite, for drivers of other crates too."
)]
#![cfg_attr(
    feature = "tokio",
    doc = "- [`catalog`]: the table of all drivers, and the functions that open a device from a settings table."
)]
#![cfg_attr(feature = "document-features", doc = "\n# Features\n")]
#![cfg_attr(feature = "document-features", doc = document_features::document_features!())]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "tokio")]
pub mod blocking;
#[cfg(feature = "tokio")]
pub mod bus;
#[cfg(feature = "camera")]
pub mod camera;
#[cfg(feature = "tokio")]
pub mod catalog;
pub mod drivers;
pub mod kernel;
pub mod scan;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "sim")]
pub mod testing;

// Their types are in signatures of this crate.
pub use {embedded_hal, serde_json};
