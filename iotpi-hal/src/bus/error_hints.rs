//! Error messages for a device file that cannot be opened, with the command or setting that fixes the
//! problem.
#![cfg_attr(not(any(feature = "linux", feature = "pi")), allow(dead_code))]

use iotpi_core::{DeviceError, DeviceErrorKind};

/// Error numbers such as `ENOENT` and `EIO`. They are the same on every Linux platform iotpi runs on.
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

/// The kind of a device file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeviceFile {
    I2c,
    Gpio,
    Pwm,
}

/// The error for a system error number that opening `what` returned. `what` is a path such as `/dev/i2c-1`.
pub(super) fn open_error(
    opened: DeviceFile,
    what: &str,
    number: Option<i32>,
    source: impl std::error::Error + Send + Sync + 'static,
) -> DeviceError {
    let group = match opened {
        DeviceFile::I2c => "i2c",
        DeviceFile::Gpio | DeviceFile::Pwm => "gpio",
    };
    let (kind, remedy) = match number {
        Some(errno::ENOENT | errno::ENODEV | errno::ENXIO) => (
            DeviceErrorKind::NotFound,
            match opened {
                DeviceFile::I2c => {
                    "is not there: enable I2C with `sudo raspi-config nonint do_i2c 0`".to_owned()
                }
                DeviceFile::Gpio => "is not there: `gpiodetect` lists the GPIO chips".to_owned(),
                DeviceFile::Pwm => {
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
                DeviceFile::Gpio => "is in use: `gpioinfo` shows by which program".to_owned(),
                DeviceFile::I2c => {
                    "is in use by a kernel driver: take its overlay out of /boot/firmware/config.txt"
                        .to_owned()
                }
                DeviceFile::Pwm => "is in use: look for another program with PWM".to_owned(),
            },
        ),
        Some(errno::EINVAL) => (DeviceErrorKind::NotFound, "does not exist on this board".to_owned()),
        _ => (DeviceErrorKind::Other, "cannot be opened".to_owned()),
    };
    DeviceError::new(kind, format!("{what} {remedy}")).with_source(source)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn error(opened: DeviceFile, number: i32) -> DeviceError {
        open_error(opened, "/dev/i2c-1", Some(number), io::Error::from_raw_os_error(number))
    }

    #[test]
    fn an_error_has_a_hint_what_to_do() {
        let absent = error(DeviceFile::I2c, errno::ENOENT);
        let forbidden = error(DeviceFile::I2c, errno::EACCES);

        assert_eq!(absent.kind(), DeviceErrorKind::NotFound);
        assert!(
            absent
                .to_string()
                .contains("/dev/i2c-1 is not there: enable I2C with `sudo raspi-config nonint do_i2c 0`")
        );
        assert_eq!(forbidden.kind(), DeviceErrorKind::PermissionDenied);
        assert!(forbidden.to_string().contains("group i2c"));
        assert_eq!(error(DeviceFile::Gpio, errno::EBUSY).kind(), DeviceErrorKind::Bus);
        assert_eq!(error(DeviceFile::Pwm, 5).kind(), DeviceErrorKind::Other);
    }
}
