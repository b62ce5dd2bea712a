//! The pins and the addresses of the devices of a settings file: each has one user.

use std::path::Path;

use iotpi_hal::catalog::{Connection, Pin};

use super::{DeviceSettings, faults::Faults};

/// The pins of I2C bus 1.
const I2C_PINS: [u8; 2] = [2, 3];
/// The pins of the identification EEPROM of an add-on board.
const RESERVED_PINS: [u8; 2] = [0, 1];
/// The default pin of the 1-Wire overlay.
const ONE_WIRE_PIN: u8 = 4;
/// The pins of SPI bus 0: MISO, MOSI and SCLK.
const SPI_PINS: [u8; 3] = [9, 10, 11];

/// A device of the file with its connections.
struct Wired<'a> {
    settings: &'a DeviceSettings,
    connections: Vec<Connection>,
}

/// Reports the conflicts.
pub fn check(devices: &[DeviceSettings], faults: &mut Faults) {
    let wired: Vec<_> =
        devices.iter().map(|settings| Wired { settings, connections: settings.connections() }).collect();
    for (index, device) in wired.iter().enumerate() {
        check_pins(device, &wired[..index], &wired, faults);
        check_addresses(device, &wired[..index], faults);
    }
}

fn check_pins(device: &Wired<'_>, before: &[Wired<'_>], all: &[Wired<'_>], faults: &mut Faults) {
    for (index, (key, pin)) in device.pins().enumerate() {
        let line = device.settings.line_of(key);
        let twice = device.pins().take(index).any(|(_, other)| other == pin);
        let user = before.iter().find(|other| other.pins().any(|(_, other)| other == pin));
        if let Some(user) = user {
            let (driver, line_of_user) = (&user.settings.driver, user.settings.line);
            faults.push(line, format!("{pin} is the pin of `{driver}` in line {line_of_user}, too"));
        } else if twice {
            faults.push(line, format!("{pin} is there twice"));
        } else if let Some(reason) = reason_against(pin, all) {
            faults.push(line, format!("{pin} cannot be used: {reason}"));
        }
    }
}

/// Why a pin cannot be used as GPIO.
fn reason_against(pin: Pin, all: &[Wired<'_>]) -> Option<&'static str> {
    let uses = |is: fn(&Connection) -> bool| all.iter().any(|device| device.connections.iter().any(is));
    let bcm = pin.bcm();
    if RESERVED_PINS.contains(&bcm) {
        Some("it is reserved for the EEPROM of an add-on board")
    } else if I2C_PINS.contains(&bcm) && uses(is_i2c_1) {
        Some("a device of this file uses it for I2C")
    } else if ONE_WIRE_PIN == bcm && uses(|connection| *connection == Connection::OneWire) {
        Some("a device of this file uses it for 1-Wire")
    } else if SPI_PINS.contains(&bcm) && uses(|connection| matches!(connection, Connection::Spi { .. })) {
        Some("a device of this file uses it for SPI")
    } else {
        None
    }
}

fn is_i2c_1(connection: &Connection) -> bool {
    matches!(connection, Connection::I2c { device, .. } if device == Path::new("/dev/i2c-1"))
}

fn check_addresses(device: &Wired<'_>, before: &[Wired<'_>], faults: &mut Faults) {
    for connection in &device.connections {
        let Connection::I2c { device: bus, address } = connection else { continue };
        if let Some(other) = before.iter().find(|other| other.connections.contains(connection)) {
            let (driver, line) = (&other.settings.driver, other.settings.line);
            let text = format!(
                "{address:#04x} on {} is the address of `{driver}` in line {line}, too",
                bus.display()
            );
            faults.push(device.settings.line_of("address"), text);
        }
    }
}

impl Wired<'_> {
    fn pins(&self) -> impl Iterator<Item = (&'static str, Pin)> {
        self.connections.iter().filter_map(|connection| match connection {
            Connection::Gpio { key, pin, .. } => Some((*key, *pin)),
            _ => None,
        })
    }
}
