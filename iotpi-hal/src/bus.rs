//! Back ends: what buses and pins are opened with.
//!
//! Pins are BCM numbers everywhere. Every function that opens something says in its error what to do about
//! it. Deliberately absent: a board file: the kernel knows the board.

use embedded_hal::delay::DelayNs;
use serde::{Deserialize, Serialize};

mod error_hints;
#[cfg(feature = "linux")]
pub mod linux;
#[cfg(feature = "pi")]
pub mod pi;
pub mod soft_pwm;
#[cfg(feature = "linux")]
pub mod sysfs_pwm;

/// Which back end a device is opened with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// Its twin in the simulated world (feature `sim`).
    Sim,
    /// Linux character devices, on any board (feature `linux`). The default.
    #[default]
    Linux,
    /// rppal, on a Raspberry Pi (feature `pi`).
    Pi,
}

impl Bus {
    /// The word in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Linux => "linux",
            Self::Pi => "pi",
        }
    }

    /// Whether this build has it.
    #[must_use]
    pub fn is_built(self) -> bool {
        match self {
            Self::Sim => cfg!(feature = "sim"),
            Self::Linux => cfg!(feature = "linux"),
            Self::Pi => cfg!(feature = "pi"),
        }
    }
}

/// A delay that lets the thread sleep. For drivers on a thread of their own, as
/// [`Blocking`](crate::blocking::Blocking) gives them.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDelay;

impl DelayNs for SystemDelay {
    // The lint guards tasks; a driver sleeps for the milliseconds its datasheet asks for, on a thread for
    // such work.
    #[allow(clippy::disallowed_methods)]
    fn delay_ns(&mut self, ns: u32) {
        std::thread::sleep(std::time::Duration::from_nanos(ns.into()));
    }
}
