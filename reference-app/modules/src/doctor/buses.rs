//! The device files of buses and pins: present, and open to this user.

use std::{io, path::PathBuf};

use iotpi_hal::catalog::Connection;
use serde_json::Value;

use super::{Machine, finding::Finding};
use crate::settings::{DeviceSettings, Settings};

/// A kind of bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    I2c,
    Spi,
    OneWire,
    Gpio,
}

impl Kind {
    fn area(self) -> &'static str {
        match self {
            Self::I2c => "i2c",
            Self::Spi => "spi",
            Self::OneWire => "1-wire",
            Self::Gpio => "gpio",
        }
    }

    /// The command or line that enables it.
    fn enable(self) -> &'static str {
        match self {
            Self::I2c => "sudo raspi-config nonint do_i2c 0",
            Self::Spi => "sudo raspi-config nonint do_spi 0",
            Self::OneWire => "add the line dtoverlay=w1-gpio to /boot/firmware/config.txt, and reboot",
            Self::Gpio => "run it on a machine with pins, or use bus = \"sim\"",
        }
    }
}

/// Checks what the devices of a file need; without a file, what is there.
pub fn check(machine: &Machine<'_>, settings: Option<&Settings>) -> Vec<Finding> {
    match settings {
        Some(settings) => needs(&settings.devices).into_iter().map(|need| needed(machine, need)).collect(),
        None => defaults().into_iter().map(|(kind, file)| present(machine, kind, file)).collect(),
    }
}

fn defaults() -> [(Kind, PathBuf); 4] {
    [
        (Kind::I2c, "/dev/i2c-1".into()),
        (Kind::Spi, "/dev/spidev0.0".into()),
        (Kind::OneWire, "/sys/bus/w1/devices/w1_bus_master1".into()),
        (Kind::Gpio, "/dev/gpiochip0".into()),
    ]
}

/// The files that the devices use, each once. Simulated devices use none.
fn needs(devices: &[DeviceSettings]) -> Vec<(Kind, PathBuf)> {
    let is_real = |device: &&DeviceSettings| device.rest.get("bus").and_then(Value::as_str) != Some("sim");
    let mut needs = Vec::new();
    for device in devices.iter().filter(is_real) {
        let chip = device.rest.get("chip").and_then(Value::as_str).unwrap_or("/dev/gpiochip0");
        for connection in device.connections() {
            let need = match connection {
                Connection::I2c { device, .. } => (Kind::I2c, device),
                Connection::Spi { device } => (Kind::Spi, device),
                Connection::OneWire => (Kind::OneWire, "/sys/bus/w1/devices/w1_bus_master1".into()),
                Connection::Gpio { .. } => (Kind::Gpio, chip.into()),
                _ => continue,
            };
            if !needs.contains(&need) {
                needs.push(need);
            }
        }
    }
    needs
}

fn needed(machine: &Machine<'_>, (kind, file): (Kind, PathBuf)) -> Finding {
    let place = machine.path(&file);
    if !place.exists() {
        let text = format!("{} is missing", file.display());
        return Finding::fail(kind.area(), text, kind.enable());
    }
    // The kernel reads the 1-Wire bus.
    let opened = if kind == Kind::OneWire { Ok(()) } else { (machine.open)(&place) };
    match opened {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let group = kind.area();
            Finding::fail(
                group,
                format!("this user may not open {}", file.display()),
                format!("sudo usermod -aG {group} $USER, and log in again"),
            )
        }
        Err(error) => {
            Finding::fail(kind.area(), format!("{}: {error}", file.display()), "dmesg shows the cause")
        }
        Ok(()) => Finding::ok(kind.area(), format!("{} can be used", file.display())),
    }
}

fn present(machine: &Machine<'_>, kind: Kind, file: PathBuf) -> Finding {
    if machine.path(&file).exists() {
        return needed(machine, (kind, file));
    }
    let text = match kind {
        Kind::Gpio => "this machine has no pins".to_owned(),
        _ => format!("not enabled; to enable it: {}", kind.enable()),
    };
    Finding::ok(kind.area(), text)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            finding::Level,
            testing::{locked, machine, tree},
        },
        *,
    };

    fn settings(device: &str) -> Settings {
        Settings::parse(&format!("id = \"a\"\n[[device]]\n{device}")).unwrap()
    }

    #[test]
    fn a_bus_that_a_device_needs_must_be_enabled() {
        let (without, with) = (tree(&[]), tree(&[("dev/i2c-1", "")]));
        let settings = settings("driver = \"bme280\"\n");

        let missing = check(&machine(without.path()), Some(&settings));
        let there = check(&machine(with.path()), Some(&settings));

        assert_eq!(missing[0].fix.as_deref(), Some("sudo raspi-config nonint do_i2c 0"));
        assert_eq!((missing[0].level, there[0].level), (Level::Fail, Level::Ok));
    }

    #[test]
    fn a_file_that_this_user_must_not_open_names_the_group() {
        let root = tree(&[("dev/gpiochip0", "")]);

        let found = check(&locked(root.path()), Some(&settings("driver = \"led\"\npin = 17")));

        assert_eq!(found[0].level, Level::Fail);
        assert_eq!(found[0].fix.as_deref(), Some("sudo usermod -aG gpio $USER, and log in again"));
    }

    #[test]
    fn simulated_devices_need_no_bus() {
        let root = tree(&[]);

        assert_eq!(
            check(&machine(root.path()), Some(&settings("driver = \"led\"\nbus = \"sim\"\npin = 17"))),
            []
        );
    }

    #[test]
    fn without_a_file_a_bus_that_is_not_enabled_is_no_fault() {
        let root = tree(&[("sys/bus/w1/devices/w1_bus_master1/uevent", "")]);

        let found = check(&machine(root.path()), None);

        assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:?}");
        assert!(found[0].message.contains("do_i2c") && found[2].message.contains("can be used"), "{found:?}");
    }
}
