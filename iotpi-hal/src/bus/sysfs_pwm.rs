//! Hardware PWM through sysfs, for the pins that a device tree overlay assigns to the PWM controller.
//!
//! `dtoverlay=pwm,pin=18,func=2` in `/boot/firmware/config.txt` makes BCM 18 channel 0 (on a Pi 5: channel
//! 2). The kernel has no character device for PWM yet; sysfs is the interface it documents
//! (Documentation/ABI/testing/sysfs-class-pwm).
//!
//! The number of a chip depends on the order in which the kernel finds them: the controller of the header of
//! a Pi 5 is `pwmchip2` in Linux 6.6 and `pwmchip0` in 6.12. A chip is therefore found by its device.

use std::{
    io,
    path::{Path, PathBuf},
};

use embedded_hal::{
    delay::DelayNs,
    pwm::{self, SetDutyCycle},
};
use iotpi_core::{DeviceError, DeviceErrorKind};

use super::{
    SystemDelay,
    error_hints::{DeviceFile, errno, open_error},
};
use crate::kernel::{Sysfs, pwm_chips, write};

/// The controllers of the pins of the header: Pi 5, Pi 4, Pi 2 and 3, Pi 1 and Zero.
const HEADER_DEVICES: [&str; 4] = ["1f00098000.pwm", "fe20c000.pwm", "3f20c000.pwm", "2020c000.pwm"];
/// After `export`, udev gives the new files to the group `gpio`. It takes some milliseconds.
const UDEV_WAIT_MS: u32 = 10;
const MAX_UDEV_WAITS: u32 = 100;
const MAX_DUTY: u16 = 1000;

/// The chip, the channel and the frequency of a PWM output.
///
/// ```
/// assert_eq!(iotpi_hal::bus::SysfsPwmConfig::default().frequency_hz, 1000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysfsPwmConfig {
    /// The kernel's name of the controller, such as `fe20c000.pwm`. Without one, the controller of the header
    /// of a Raspberry Pi, or else the only one.
    pub device: Option<String>,
    /// The channel of the controller. Default 0.
    pub channel: u8,
    /// The frequency in hertz, 1 to 100,000. Default 1,000.
    pub frequency_hz: u32,
}

impl Default for SysfsPwmConfig {
    fn default() -> Self {
        Self { device: None, channel: 0, frequency_hz: 1000 }
    }
}

/// A PWM channel, enabled with duty zero.
///
/// ```no_run
/// use iotpi_hal::{bus::{SysfsPwm, SysfsPwmConfig}, drivers::led::Led, kernel::Sysfs};
///
/// // BCM 18 with `dtoverlay=pwm,pin=18,func=2`.
/// let lamp = Led::new(SysfsPwm::open(&Sysfs::new(), &SysfsPwmConfig::default())?);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct SysfsPwm {
    channel: PathBuf,
    period_ns: u32,
}

/// The kernel rejected a value.
#[derive(Debug, thiserror::Error)]
#[error("the kernel rejected the PWM setting")]
pub struct SysfsPwmError(#[from] io::Error);

impl pwm::Error for SysfsPwmError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

impl SysfsPwm {
    /// Opens a channel. After `export` it waits for udev, a second at most.
    ///
    /// # Errors
    /// - [`NotFound`](DeviceErrorKind::NotFound): the overlay is missing, or there are several chips and none
    ///   is chosen.
    /// - [`PermissionDenied`](DeviceErrorKind::PermissionDenied): the user is not in group `gpio`.
    /// - [`Refused`](DeviceErrorKind::Refused): the frequency is out of range.
    pub fn open(sysfs: &Sysfs, config: &SysfsPwmConfig) -> Result<Self, DeviceError> {
        Self::open_with_delay(sysfs, config, &mut SystemDelay)
    }

    fn open_with_delay(
        sysfs: &Sysfs,
        config: &SysfsPwmConfig,
        delay: &mut impl DelayNs,
    ) -> Result<Self, DeviceError> {
        if !(1..=100_000).contains(&config.frequency_hz) {
            return Err(DeviceError::new(DeviceErrorKind::Refused, "the frequency is 1 to 100,000 Hz"));
        }
        let chip = find_chip(sysfs, config.device.as_deref())?;
        let this = Self {
            channel: chip.join(format!("pwm{}", config.channel)),
            period_ns: 1_000_000_000 / config.frequency_hz,
        };
        this.export(&chip, config.channel, delay).map_err(|e| {
            let what = format!("PWM channel {} of {}", config.channel, chip.display());
            open_error(DeviceFile::Pwm, &what, e.raw_os_error(), e)
        })?;
        Ok(this)
    }

    fn export(&self, chip: &Path, number: u8, delay: &mut impl DelayNs) -> io::Result<()> {
        if self.channel.is_dir() {
            return self.enable();
        }
        match write(&chip.join("export"), &number.to_string()) {
            // Another program exported the channel since the check above.
            Err(e) if e.raw_os_error() == Some(errno::EBUSY) => {}
            other => other?,
        }
        let mut waits = 0;
        loop {
            match self.enable() {
                Err(e) if is_before_udev(&e) && waits < MAX_UDEV_WAITS => delay.delay_ms(UDEV_WAIT_MS),
                other => return other,
            }
            waits += 1;
        }
    }

    fn enable(&self) -> io::Result<()> {
        // The kernel rejects a duty longer than the period, so the duty is reset first.
        self.write("duty_cycle", 0)
            .or_else(|e| if e.raw_os_error() == Some(errno::EINVAL) { Ok(()) } else { Err(e) })?;
        self.write("period", self.period_ns)?;
        self.write("duty_cycle", 0)?;
        self.write("enable", 1)
    }

    fn write(&self, file: &str, value: u32) -> io::Result<()> {
        write(&self.channel.join(file), &value.to_string())
    }
}

fn is_before_udev(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
}

fn find_chip(sysfs: &Sysfs, device: Option<&str>) -> Result<PathBuf, DeviceError> {
    let mut chips = pwm_chips(sysfs);
    let of = |wanted: &str| chips.iter().find(|(name, _)| name == wanted).map(|(_, chip)| chip.clone());
    let found = match device {
        Some(device) => of(device),
        None => HEADER_DEVICES.into_iter().find_map(of),
    };
    if let Some(chip) = found {
        return Ok(chip);
    }
    if device.is_none() && chips.len() == 1 {
        return Ok(chips.remove(0).1);
    }
    let names: Vec<_> = chips.iter().map(|(name, _)| name.as_str()).collect();
    let message = match (device, names.is_empty()) {
        (_, true) => "no PWM chip: add `dtoverlay=pwm,pin=18,func=2` to /boot/firmware/config.txt and reboot"
            .to_owned(),
        (Some(device), false) => format!("no PWM chip `{device}`: there is {}", names.join(", ")),
        (None, false) => format!("several PWM chips: choose one with `device`, of {}", names.join(", ")),
    };
    Err(DeviceError::new(DeviceErrorKind::NotFound, message))
}

impl pwm::ErrorType for SysfsPwm {
    type Error = SysfsPwmError;
}

impl SetDutyCycle for SysfsPwm {
    fn max_duty_cycle(&self) -> u16 {
        MAX_DUTY
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), SysfsPwmError> {
        let ns = u64::from(self.period_ns) * u64::from(duty.min(MAX_DUTY)) / u64::from(MAX_DUTY);
        let ns = u32::try_from(ns).unwrap_or(self.period_ns);
        Ok(self.write("duty_cycle", ns)?)
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use std::fs;

    use super::*;
    use crate::sim::SimSysfs;

    /// A Pi 5: the controller of the fan, and that of the header.
    const CHIPS: &str = "[sys/devices/1f0009c000.pwm/pwm/pwmchip0]\n@ sys/class/pwm\nexport =\ndevice -> ../..\n\
                         [sys/devices/1f00098000.pwm/pwm/pwmchip2]\n@ sys/class/pwm\nexport =\ndevice -> ../..";
    const CHANNEL: &str = "[sys/class/pwm/pwmchip2/pwm0]\nperiod = 0\nduty_cycle = 0\nenable = 0\n";

    /// Does as udev would do, at the n-th wait.
    struct Udev<'a>(&'a SimSysfs, u32);

    impl DelayNs for Udev<'_> {
        fn delay_ns(&mut self, _: u32) {
            self.1 = self.1.saturating_sub(1);
            if self.1 == 0 {
                self.0.unpack(CHANNEL).unwrap();
            }
        }
    }

    fn open(tree: &SimSysfs, waits: u32, config: &SysfsPwmConfig) -> Result<SysfsPwm, DeviceError> {
        SysfsPwm::open_with_delay(&tree.sysfs(), config, &mut Udev(tree, waits))
    }

    #[test]
    fn the_chip_of_the_header_is_found_by_its_device_and_its_channel_after_udev() {
        let tree = SimSysfs::new(CHIPS).unwrap();
        let file = |name: &str| fs::read_to_string(tree.path("sys/class/pwm/pwmchip2").join(name)).unwrap();

        let mut pwm = open(&tree, 7, &SysfsPwmConfig::default()).unwrap();
        pwm.set_duty_cycle_percent(30).unwrap();

        assert_eq!(file("export"), "0");
        assert_eq!(
            ["period", "duty_cycle", "enable"].map(|name| file(&format!("pwm0/{name}"))),
            ["1000000", "300000", "1"]
        );
    }

    #[test]
    fn the_frequency_gives_the_period() {
        let tree = SimSysfs::new(&format!("{CHIPS}\n{CHANNEL}")).unwrap();
        let config = SysfsPwmConfig { frequency_hz: 50, ..SysfsPwmConfig::default() };

        let mut pwm = open(&tree, 1, &config).unwrap();
        pwm.set_duty_cycle(MAX_DUTY).unwrap();

        let duty = fs::read_to_string(tree.path("sys/class/pwm/pwmchip2/pwm0/duty_cycle")).unwrap();
        assert_eq!(duty, "20000000");
        for frequency_hz in [0, 100_001] {
            let config = SysfsPwmConfig { frequency_hz, ..SysfsPwmConfig::default() };
            assert_eq!(open(&tree, 1, &config).unwrap_err().kind(), DeviceErrorKind::Refused);
        }
    }

    #[test]
    fn the_wait_for_udev_ends() {
        let tree = SimSysfs::new(CHIPS).unwrap();

        let error = open(&tree, u32::MAX, &SysfsPwmConfig::default()).unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound);
    }

    #[test]
    fn an_unknown_chip_is_an_error_with_advice() {
        let error = |tree: &str, device: Option<&str>| {
            let config = SysfsPwmConfig { device: device.map(str::to_owned), ..SysfsPwmConfig::default() };
            open(&SimSysfs::new(tree).unwrap(), 1, &config).unwrap_err().to_string()
        };

        assert!(error("", None).contains("dtoverlay=pwm"));
        assert!(error(CHIPS, Some("pwmchip0")).contains("1f00098000.pwm"));
        assert!(error(&CHIPS.replace("1f00098000", "other"), None).contains("choose one with `device`"));
    }
}
