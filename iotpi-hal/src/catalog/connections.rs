//! The buses and pins that a device needs, for the checks of a settings file and for its wiring diagram.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{CatalogEntry, Pin, settings_shape::PIN_KEY};

/// A bus or a pin that a device needs.
///
/// ```
/// use iotpi_hal::catalog::{self, Connection};
///
/// let settings = serde_json::json!({"bus": "linux", "address": 0x77});
/// let connections = catalog::find("bme280").unwrap().connections(settings.as_object().unwrap());
/// assert_eq!(connections, [Connection::I2c { device: "/dev/i2c-1".into(), address: 0x77 }]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Connection {
    /// A pin of its own, by the key of the setting.
    Gpio {
        /// The key of the setting: `pin`, `relays`.
        key: &'static str,
        /// The name of the pin: the `name` beside it, or the key.
        name: String,
        /// The pin.
        pin: Pin,
    },
    /// An I2C bus, and an address there.
    I2c {
        /// The device file of the bus.
        device: PathBuf,
        /// The 7-bit address.
        address: u8,
    },
    /// An SPI bus.
    Spi {
        /// The device file of the bus.
        device: PathBuf,
    },
    /// The 1-Wire bus, BCM 4 by default.
    OneWire,
}

impl CatalogEntry {
    /// The buses and pins that the driver needs with these settings. Settings with a wrong value count for
    /// nothing. A device of the kernel has its pins in a device tree overlay: only the 1-Wire bus is known.
    #[must_use]
    pub fn connections(&self, settings: &Map<String, Value>) -> Vec<Connection> {
        let shape = self.shape();
        // Pins of a GPIO chip by its path are not on the header.
        let has_chip = settings.contains_key("chip");
        let pins = shape.pins.into_iter().filter(|_| !has_chip).flat_map(|key| {
            let pins = settings.get(key).map(pins_of).unwrap_or_default();
            pins.into_iter().map(move |(name, pin)| {
                let name = name.unwrap_or_else(|| key.to_owned());
                Connection::Gpio { key, name, pin }
            })
        });
        pins.chain(self.i2c(shape.keys, settings))
            .chain(self.spi(shape.keys, settings))
            .chain(self.connects.starts_with("1-Wire").then_some(Connection::OneWire))
            .collect()
    }

    fn i2c(&self, keys: &[&str], settings: &Map<String, Value>) -> Option<Connection> {
        let default = self.first_address()?;
        let address = match settings.get("address") {
            Some(address) => u8::try_from(address.as_u64()?).ok()?,
            None => default,
        };
        let device = device_file(keys, settings, "i2c", "/dev/i2c-1")?;
        Some(Connection::I2c { device, address })
    }

    fn spi(&self, keys: &[&str], settings: &Map<String, Value>) -> Option<Connection> {
        Some(Connection::Spi { device: device_file(keys, settings, "spi", "/dev/spidev0.0")? })
    }

    /// The lowest address of the chip, its default: `I2C, 0x76 or 0x77`.
    fn first_address(&self) -> Option<u8> {
        let digits = self.connects.strip_prefix("I2C, 0x")?.get(..2)?;
        u8::from_str_radix(digits, 16).ok()
    }
}

fn device_file(keys: &[&str], settings: &Map<String, Value>, key: &str, default: &str) -> Option<PathBuf> {
    keys.contains(&key).then(|| settings.get(key).and_then(Value::as_str).unwrap_or(default).into())
}

/// The pins of a setting, each with its name if it has one: one pin, a list of them, or of tables with a pin.
fn pins_of(value: &Value) -> Vec<(Option<String>, Pin)> {
    let one = |value: &Value| serde_json::from_value(value.clone()).ok();
    match value {
        Value::Array(values) => values.iter().flat_map(pins_of).collect(),
        Value::Object(table) => {
            let name = table.get("name").and_then(Value::as_str).map(str::to_owned);
            table.get(PIN_KEY).and_then(one).map(|pin| (name, pin)).into_iter().collect()
        }
        pin => one(pin).map(|pin| (None, pin)).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog;

    fn connections(driver: &str, settings: &Value) -> Vec<Connection> {
        catalog::find(driver).unwrap().connections(settings.as_object().unwrap())
    }

    #[test]
    fn the_connections_follow_from_the_settings() {
        let pin = |key, name: &str, pin: &str| Connection::Gpio {
            key,
            name: name.to_owned(),
            pin: pin.parse().unwrap(),
        };
        let relays = json!({"relays": [{"name": "up", "pin": 5}, {"name": "down", "pin": "BOARD31"}]});

        assert_eq!(connections("led", &json!({"pin": 17})), [pin("pin", "pin", "BOARD11")]);
        assert_eq!(
            connections("relay", &relays),
            [pin("relays", "up", "GPIO5"), pin("relays", "down", "GPIO6")]
        );
        assert_eq!(connections("led", &json!({"pin": 71, "chip": "/dev/gpiochip1"})), []);
        assert_eq!(connections("ds18b20", &json!({})), [Connection::OneWire]);
        assert_eq!(connections("system", &json!({})), []);
    }

    #[test]
    fn every_driver_with_an_i2c_bus_has_a_default_address() {
        for entry in catalog::entries().filter(|entry| entry.keys().contains(&"i2c")) {
            let found = entry.connections(&Map::new());
            assert!(matches!(found[..], [Connection::I2c { .. }]), "{}: {found:?}", entry.name);
        }
    }

    #[test]
    fn every_driver_has_its_keys() {
        for entry in catalog::entries() {
            assert!(!entry.keys().is_empty(), "{}", entry.name);
        }
    }
}
