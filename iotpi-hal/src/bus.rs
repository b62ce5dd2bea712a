//! Back ends that open buses and pins.
//!
//! Pins are BCM numbers everywhere. The error of every opening function states how to fix the problem.
//! Deliberately absent: a board file, because the kernel knows the board.

use embedded_hal::delay::DelayNs;
use serde::{Deserialize, Serialize};

mod edges;
mod error_hints;
#[cfg(feature = "linux")]
pub mod linux;
#[cfg(feature = "pi")]
pub mod pi;
mod soft_pwm;
mod sysfs_pwm;

#[cfg(any(feature = "pi", feature = "sim"))]
pub(crate) use edges::EdgeQueue;
pub use edges::{Edge, EdgeInput};
pub use soft_pwm::{SoftPwm, SoftPwmError};
pub use sysfs_pwm::{SysfsPwm, SysfsPwmConfig, SysfsPwmError};

/// The back end that opens a device.
///
/// ```
/// use iotpi_hal::bus::Bus;
///
/// let bus: Bus = serde_json::from_str("\"sim\"")?;
/// assert_eq!((bus, bus.is_built()), (Bus::Sim, cfg!(feature = "sim")));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Bus {
    /// The simulated device in the simulated world (feature `sim`).
    Sim,
    /// Linux character devices, on any board (feature `linux`). The default.
    #[default]
    Linux,
    /// The crate rppal, on a Raspberry Pi (feature `pi`).
    Pi,
}

impl Bus {
    /// The name of the bus in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Linux => "linux",
            Self::Pi => "pi",
        }
    }

    /// Whether this build includes the back end.
    #[must_use]
    pub fn is_built(self) -> bool {
        match self {
            Self::Sim => cfg!(feature = "sim"),
            Self::Linux => cfg!(feature = "linux"),
            Self::Pi => cfg!(feature = "pi"),
        }
    }
}

/// The pull resistor of an input pin.
///
/// ```
/// use iotpi_hal::bus::Pull;
///
/// assert_eq!(serde_json::from_str::<Pull>("\"up\"")?, Pull::Up);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// None: the level of an unconnected pin is undefined.
    #[default]
    None,
    /// An unconnected pin is high.
    Up,
    /// An unconnected pin is low.
    Down,
}

/// A delay that blocks the thread. For drivers that run on a blocking thread, as
/// [`Blocking`](crate::blocking::Blocking) provides.
///
/// ```
/// use iotpi_hal::{bus::SystemDelay, embedded_hal::delay::DelayNs};
///
/// SystemDelay.delay_us(10);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDelay;

impl DelayNs for SystemDelay {
    // The lint protects async tasks. A driver sleeps for the milliseconds its datasheet requires, on a
    // blocking thread.
    #[allow(clippy::disallowed_methods)]
    fn delay_ns(&mut self, ns: u32) {
        std::thread::sleep(std::time::Duration::from_nanos(ns.into()));
    }
}
