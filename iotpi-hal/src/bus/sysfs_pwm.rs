//! Hardware PWM through sysfs, for the pins that a device tree overlay assigns to the PWM controller.
//!
//! `dtoverlay=pwm,pin=18,func=2` in `/boot/firmware/config.txt` makes BCM 18 channel 0 (on a Pi 5: channel
//! 2). The kernel has no character device for PWM yet; sysfs is the interface it documents.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use embedded_hal::pwm::{self, SetDutyCycle};
use iotpi_core::DeviceError;

use super::error_hints::{DeviceFile, errno, open_error};

/// The PWM period: 1 ms.
const PERIOD_NS: u32 = 1_000_000;
const MAX_DUTY: u16 = 1000;

/// A PWM channel, enabled with duty zero.
///
/// ```no_run
/// use iotpi_hal::{bus::SysfsPwm, drivers::led::Led};
///
/// // BCM 18 with `dtoverlay=pwm,pin=18,func=2`.
/// let lamp = Led::new(SysfsPwm::open(SysfsPwm::KERNEL_FOLDER.as_ref(), 0)?);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct SysfsPwm {
    channel: PathBuf,
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
    /// The sysfs folder of the first PWM chip, which is the one of the Raspberry Pi.
    pub const KERNEL_FOLDER: &str = "/sys/class/pwm/pwmchip0";

    /// Opens a channel of the PWM chip with this sysfs folder ([`KERNEL_FOLDER`](Self::KERNEL_FOLDER)).
    ///
    /// # Errors
    /// [`NotFound`](iotpi_core::DeviceErrorKind::NotFound) when the overlay is missing,
    /// [`PermissionDenied`](iotpi_core::DeviceErrorKind::PermissionDenied) when the user is not in group
    /// `gpio`.
    pub fn open(chip: &Path, channel: u8) -> Result<Self, DeviceError> {
        Self::export(chip, channel).map_err(|e| {
            let what = format!("PWM channel {channel} of {}", chip.display());
            open_error(DeviceFile::Pwm, &what, e.raw_os_error(), e)
        })
    }

    fn export(chip: &Path, number: u8) -> io::Result<Self> {
        let channel = chip.join(format!("pwm{number}"));
        if !channel.is_dir() {
            match fs::write(chip.join("export"), number.to_string()) {
                // Another program exported the channel since the check above.
                Err(e) if e.raw_os_error() == Some(errno::EBUSY) => {}
                other => other?,
            }
        }
        let this = Self { channel };
        // The kernel rejects a duty longer than the period, so the duty is reset first.
        this.write("duty_cycle", 0)
            .or_else(|e| if e.raw_os_error() == Some(errno::EINVAL) { Ok(()) } else { Err(e) })?;
        this.write("period", PERIOD_NS)?;
        this.write("duty_cycle", 0)?;
        this.write("enable", 1)?;
        Ok(this)
    }

    fn write(&self, file: &str, value: u32) -> io::Result<()> {
        fs::write(self.channel.join(file), value.to_string())
    }
}

impl pwm::ErrorType for SysfsPwm {
    type Error = SysfsPwmError;
}

impl SetDutyCycle for SysfsPwm {
    fn max_duty_cycle(&self) -> u16 {
        MAX_DUTY
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), SysfsPwmError> {
        let ns = PERIOD_NS / u32::from(MAX_DUTY) * u32::from(duty.min(MAX_DUTY));
        Ok(self.write("duty_cycle", ns)?)
    }
}

#[cfg(test)]
mod tests {
    use iotpi_core::DeviceErrorKind;

    use super::*;

    #[test]
    fn a_duty_is_written_in_nanoseconds() {
        let chip = tempfile::tempdir().unwrap();
        fs::create_dir(chip.path().join("pwm0")).unwrap();

        let mut pwm = SysfsPwm::open(chip.path(), 0).unwrap();
        pwm.set_duty_cycle_percent(30).unwrap();

        let file = |name: &str| fs::read_to_string(chip.path().join("pwm0").join(name)).unwrap();
        assert_eq!([file("period"), file("duty_cycle"), file("enable")], ["1000000", "300000", "1"]);
    }

    #[test]
    fn the_error_for_a_missing_overlay_names_it() {
        let error = SysfsPwm::open(Path::new("/nowhere/pwmchip0"), 0).unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound);
        assert!(error.to_string().contains("dtoverlay=pwm"), "{error}");
    }
}
