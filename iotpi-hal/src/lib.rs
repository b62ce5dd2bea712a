#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]
//!
//! # Map
//! - [`drivers`]: one chip or kind of device per file, generic over embedded-hal 1.0.
//! - [`bus`]: the back ends that open buses and pins, and say what to do when they cannot.
//! - [`blocking`]: how a blocking driver is awaited.
//! - [`camera`]: test card, replay, a Pi's camera modules, V4L2.
//! - [`sim`]: the simulated world and the twins below the drivers.
//! - [`catalog`]: the table of all of it, and how a settings table becomes a device.

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
