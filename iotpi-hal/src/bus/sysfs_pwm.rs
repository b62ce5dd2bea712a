//! The processor's PWM through the kernel's files, for the pins an overlay gave to it.
//!
//! `dtoverlay=pwm,pin=18,func=2` in `/boot/firmware/config.txt` makes BCM 18 channel 0 (on a Pi 5: channel
//! 2). The kernel has no character device for PWM as yet; its files are the interface it documents.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use embedded_hal::pwm::{self, SetDutyCycle};
use iotpi_core::DeviceError;

use super::error_hints::{Opened, errno, open_error};

/// Where the kernel shows its PWM chips; the Pi's is the first.
pub const KERNEL_FOLDER: &str = "/sys/class/pwm/pwmchip0";

/// One on and off.
const PERIOD_NS: u32 = 1_000_000;
const MAX_DUTY: u16 = 1000;

/// A channel, switched on with duty zero.
#[derive(Debug)]
pub struct SysfsPwm {
    channel: PathBuf,
}

/// The kernel did not take a value.
#[derive(Debug, thiserror::Error)]
#[error("the PWM channel did not obey")]
pub struct PwmError(#[from] io::Error);

impl pwm::Error for PwmError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

impl SysfsPwm {
    /// Opens a channel of the chip whose folder this is ([`KERNEL_FOLDER`]).
    ///
    /// # Errors
    /// [`NotFound`](iotpi_core::DeviceErrorKind::NotFound) without the overlay,
    /// [`PermissionDenied`](iotpi_core::DeviceErrorKind::PermissionDenied) outside group `gpio`.
    pub fn open(chip: &Path, channel: u8) -> Result<Self, DeviceError> {
        Self::export(chip, channel).map_err(|e| {
            let what = format!("PWM channel {channel} of {}", chip.display());
            open_error(Opened::Pwm, &what, e.raw_os_error(), e)
        })
    }

    fn export(chip: &Path, number: u8) -> io::Result<Self> {
        let channel = chip.join(format!("pwm{number}"));
        if !channel.is_dir() {
            match fs::write(chip.join("export"), number.to_string()) {
                // Somebody exported it since we looked.
                Err(e) if e.raw_os_error() == Some(errno::EBUSY) => {}
                other => other?,
            }
        }
        let this = Self { channel };
        // The duty must never be longer than the period, so it goes first.
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
    type Error = PwmError;
}

impl SetDutyCycle for SysfsPwm {
    fn max_duty_cycle(&self) -> u16 {
        MAX_DUTY
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), PwmError> {
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
    fn without_the_overlay_the_error_names_it() {
        let error = SysfsPwm::open(Path::new("/nowhere/pwmchip0"), 0).unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound);
        assert!(error.to_string().contains("dtoverlay=pwm"), "{error}");
    }
}
