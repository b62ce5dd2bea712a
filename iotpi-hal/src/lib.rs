#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]
//!
//! # Map
//! - [`drivers`]: one file for each chip or kind of device, generic over embedded-hal 1.0.
//! - [`bus`]: the back ends that open buses and pins. Their errors state how to fix the problem.
//! - [`blocking`]: runs a blocking driver as an async sensor.
//! - [`camera`]: test card, replay, the camera modules of a Raspberry Pi, V4L2.
//! - [`sim`]: the simulated world and the simulated devices below the drivers.
//! - [`testing`]: the contract of drivers as a test suite, for drivers of other crates too.
//! - [`catalog`]: the table of all drivers, and the functions that open a device from a settings table.
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
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "sim")]
pub mod testing;

pub use embedded_hal;
