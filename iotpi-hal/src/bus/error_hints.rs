//! What is wrong when a device file cannot be opened, and what to do about it.
#![cfg_attr(not(any(feature = "linux", feature = "pi")), allow(dead_code))]

use iotpi_core::{DeviceError, DeviceErrorKind};

/// `ENOENT`, `EIO` and their like; the numbers are the same on every Linux iotpi runs on.
pub(super) mod errno {
    pub const EPERM: i32 = 1;
    pub const ENOENT: i32 = 2;
    pub const ENXIO: i32 = 6;
    pub const EACCES: i32 = 13;
    pub const EBUSY: i32 = 16;
    pub const ENODEV: i32 = 19;
    pub const EINVAL: i32 = 22;
    pub const ETIMEDOUT: i32 = 110;
    pub const EREMOTEIO: i32 = 121;
}

/// A kind of device file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    I2c,
    Gpio,
    Pwm,
}

/// The error for a system error number met while opening `what`, such as `/dev/i2c-1`.
pub(super) fn open_error(
    opened: Opened,
    what: &str,
    number: Option<i32>,
    source: impl std::error::Error + Send + Sync + 'static,
) -> DeviceError {
    let group = match opened {
        Opened::I2c => "i2c",
        Opened::Gpio | Opened::Pwm => "gpio",
    };
    let (kind, mend) = match number {
        Some(errno::ENOENT | errno::ENODEV | errno::ENXIO) => (
            DeviceErrorKind::NotFound,
            match opened {
                Opened::I2c => "is not there: enable I2C with `sudo raspi-config nonint do_i2c 0`".to_owned(),
                Opened::Gpio => "is not there: `gpiodetect` lists the GPIO chips".to_owned(),
                Opened::Pwm => {
                    "is not there: add `dtoverlay=pwm,pin=18,func=2` to /boot/firmware/config.txt and reboot"
                        .to_owned()
                }
            },
        ),
        Some(errno::EACCES | errno::EPERM) => (
            DeviceErrorKind::PermissionDenied,
            format!(
                "may not be used: add the user to group {group} (`sudo usermod -aG {group} $USER`) and log in again"
            ),
        ),
        Some(errno::EBUSY) => (
            DeviceErrorKind::Bus,
            match opened {
                Opened::Gpio => "is in use: `gpioinfo` shows by whom".to_owned(),
                Opened::I2c => {
                    "is in use by a kernel driver: take its overlay out of /boot/firmware/config.txt"
                        .to_owned()
                }
                Opened::Pwm => "is in use: look for another program with PWM".to_owned(),
            },
        ),
        Some(errno::EINVAL) => (DeviceErrorKind::NotFound, "does not exist on this board".to_owned()),
        _ => (DeviceErrorKind::Other, "cannot be opened".to_owned()),
    };
    DeviceError::new(kind, format!("{what} {mend}")).with_source(source)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn error(opened: Opened, number: i32) -> DeviceError {
        open_error(opened, "/dev/i2c-1", Some(number), io::Error::from_raw_os_error(number))
    }

    #[test]
    fn an_error_says_what_to_do() {
        let absent = error(Opened::I2c, errno::ENOENT);
        let forbidden = error(Opened::I2c, errno::EACCES);

        assert_eq!(absent.kind(), DeviceErrorKind::NotFound);
        assert!(
            absent
                .to_string()
                .contains("/dev/i2c-1 is not there: enable I2C with `sudo raspi-config nonint do_i2c 0`")
        );
        assert_eq!(forbidden.kind(), DeviceErrorKind::PermissionDenied);
        assert!(forbidden.to_string().contains("group i2c"));
        assert_eq!(error(Opened::Gpio, errno::EBUSY).kind(), DeviceErrorKind::Bus);
        assert_eq!(error(Opened::Pwm, 5).kind(), DeviceErrorKind::Other);
    }
}
