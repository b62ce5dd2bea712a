//! Which pin of the header each terminal of a device is connected to.

use std::path::Path;

use iotpi_hal::catalog::{self, Connection};

use super::{
    header::{CHIP_SELECTS, Function, GROUNDS, I2C, ONE_WIRE, SPI, VOLTS_3, VOLTS_5},
    part::part,
};
use crate::settings::DeviceSettings;

/// A device with its wires.
#[derive(Debug)]
pub struct PlannedDevice {
    /// The driver and the channel.
    pub name: String,
    /// The title of the driver.
    pub title: &'static str,
    pub terminals: Vec<Terminal>,
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
}

/// A terminal of a device.
#[derive(Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Its name on the device: `SDA`.
    pub name: String,
    /// The pin of the header, 1 to 40.
    pub position: u8,
    pub function: Function,
}

/// The supply pins in use: devices share them as late as possible.
#[derive(Debug, Default)]
struct Supplies {
    volts_3: usize,
    volts_5: usize,
    grounds: usize,
}

impl Supplies {
    fn next(&mut self, function: Function) -> u8 {
        let (count, pins): (_, &[u8]) = match function {
            Function::Volts3 => (&mut self.volts_3, &VOLTS_3),
            Function::Volts5 => (&mut self.volts_5, &VOLTS_5),
            _ => (&mut self.grounds, &GROUNDS),
        };
        let pin = pins[*count % pins.len()];
        *count += 1;
        pin
    }
}

/// Plans the wires of all devices.
pub fn plan(devices: &[DeviceSettings]) -> Vec<PlannedDevice> {
    let mut supplies = Supplies::default();
    devices.iter().map(|device| plan_device(device, &mut supplies)).collect()
}

fn plan_device(settings: &DeviceSettings, supplies: &mut Supplies) -> PlannedDevice {
    let connections = settings.connections();
    let part = part(&settings.driver, &settings.rest, &connections);
    let mut device = PlannedDevice {
        name: match &settings.channel {
            Some(channel) => format!("{}, channel {channel}", settings.driver),
            None => settings.driver.clone(),
        },
        title: catalog::find(&settings.driver).map_or("", |entry| entry.title),
        terminals: Vec::new(),
        notes: part.notes,
        warnings: part.warnings,
    };
    let signals: Vec<_> = connections.iter().flat_map(|one| signals(one, &mut device.notes)).collect();
    if let (Some(function), false) = (part.supply, signals.is_empty()) {
        let name = if function == Function::Volts5 { "VCC" } else { "VIN" };
        device.terminals.push(terminal(name, supplies.next(function), function));
    }
    if signals.is_empty() {
        device.notes.push("No wires on the header are known from the settings.".to_owned());
    } else {
        device.terminals.push(terminal("GND", supplies.next(Function::Ground), Function::Ground));
    }
    device.terminals.extend(signals);
    device
}

fn terminal(name: &str, position: u8, function: Function) -> Terminal {
    Terminal { name: name.to_owned(), position, function }
}

/// The terminals of a connection; a bus whose pins are not known is a note.
fn signals(connection: &Connection, notes: &mut Vec<String>) -> Vec<Terminal> {
    match connection {
        Connection::Gpio { name, pin, .. } => {
            let name = if name == "pin" { "signal".to_owned() } else { name.replace('_', " ") };
            pin.board().map(|position| terminal(&name, position, Function::Gpio)).into_iter().collect()
        }
        Connection::I2c { device, address } if device == Path::new("/dev/i2c-1") => {
            notes.push(format!("Address {address:#04x}"));
            let wire = |name, position| terminal(name, position, Function::I2c);
            vec![wire("SDA", I2C[0]), wire("SCL", I2C[1])]
        }
        Connection::Spi { device } if device.starts_with("/dev") => spi(device, notes),
        Connection::OneWire => vec![terminal("DQ", ONE_WIRE, Function::OneWire)],
        Connection::I2c { device, .. } | Connection::Spi { device } => {
            notes.push(format!("The overlay of {} determines its pins.", device.display()));
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn spi(device: &Path, notes: &mut Vec<String>) -> Vec<Terminal> {
    let selects = ["/dev/spidev0.0", "/dev/spidev0.1"];
    let Some(select) = selects.iter().position(|name| device == Path::new(name)) else {
        notes.push(format!("The overlay of {} determines its pins.", device.display()));
        return Vec::new();
    };
    let wire = |name, position| terminal(name, position, Function::Spi);
    vec![wire("MOSI", SPI[0]), wire("MISO", SPI[1]), wire("SCLK", SPI[2]), wire("CS", CHIP_SELECTS[select])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn planned(devices: &str) -> Vec<PlannedDevice> {
        plan(&Settings::parse(&format!("id = \"a\"\n{devices}")).unwrap().devices)
    }

    fn wires(device: &PlannedDevice) -> Vec<(&str, u8)> {
        device.terminals.iter().map(|terminal| (terminal.name.as_str(), terminal.position)).collect()
    }

    #[test]
    fn chips_of_a_bus_share_its_pins_and_have_a_ground_of_their_own() {
        let devices = planned(
            "[[device]]\ndriver = \"bme280\"\n[[device]]\ndriver = \"bme280\"\naddress = 0x77\nchannel = \"out\"\n",
        );

        assert_eq!(wires(&devices[0]), [("VIN", 1), ("GND", 6), ("SDA", 3), ("SCL", 5)]);
        assert_eq!(wires(&devices[1]), [("VIN", 17), ("GND", 9), ("SDA", 3), ("SCL", 5)]);
        assert_eq!(
            (devices[1].name.as_str(), devices[1].notes[0].as_str()),
            ("bme280, channel out", "Address 0x77")
        );
    }

    #[test]
    fn relays_have_their_names_and_a_supply() {
        let device = &planned(
            "[[device]]\ndriver = \"relay\"\nrelays = [{ name = \"up\", pin = 5 }, { name = \"down\", pin = 6 }]",
        )[0];

        assert_eq!(wires(device), [("VCC", 2), ("GND", 6), ("up", 29), ("down", 31)]);
    }

    #[test]
    fn what_can_go_wrong_is_a_warning() {
        let warning = |device: &str| planned(&format!("[[device]]\n{device}"))[0].warnings.concat();

        assert!(warning("driver = \"motion\"\npin = 23").contains("5 V damages the pin"));
        assert!(warning("driver = \"hcsr04\"\ntrigger = 23\necho = 24").contains("voltage divider"));
        assert!(warning("driver = \"ds18b20\"").contains("4.7 kΩ"));
        assert!(warning("driver = \"button\"\npin = 24\npull = \"none\"").contains("10 kΩ"));
        assert_eq!(warning("driver = \"button\"\npin = 24"), "");
    }

    #[test]
    fn a_device_whose_pins_are_not_known_has_no_wires() {
        for device in ["driver = \"system\"", "driver = \"bme280\"\ni2c = \"/dev/i2c-3\""] {
            let device = &planned(&format!("[[device]]\n{device}"))[0];

            assert!(device.terminals.is_empty() && !device.notes.is_empty(), "{device:?}");
        }
    }
}
