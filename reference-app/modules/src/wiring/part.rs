//! What the wires of a driver's device are, besides its buses and pins: supply, and parts that it needs.

use iotpi_hal::catalog::Connection;
use serde_json::{Map, Value};

use super::header::Function;

/// The supply of a device, and the notes on its wiring.
#[derive(Debug, Default)]
pub struct Part {
    /// `None` for a device between a pin and ground.
    pub supply: Option<Function>,
    /// Parts to add.
    pub notes: Vec<String>,
    /// What can damage the Pi, or keep the device from working.
    pub warnings: Vec<String>,
}

/// What a device of this driver needs.
pub fn part(driver: &str, settings: &Map<String, Value>, connections: &[Connection]) -> Part {
    let mut part = Part { supply: supply(driver, connections), ..Part::default() };
    let uses = |is: fn(&Connection) -> bool| connections.iter().any(is);
    if uses(|connection| *connection == Connection::OneWire) {
        part.warnings.push("A pull-up resistor of 4.7 kΩ from DQ to 3.3 V is necessary.".to_owned());
    }
    match driver {
        "led" => part.notes.push("A resistor of 330 Ω in series with the LED.".to_owned()),
        "motion" => {
            part.notes.push("HC-SR501: 5 V. AM312: connect VCC to 3.3 V instead.".to_owned());
            part.warnings.push("An output of 5 V damages the pin: OUT is 3.3 V at most.".to_owned());
        }
        "hcsr04" => part.warnings.push(
            "ECHO has 5 V: a voltage divider of 1 kΩ to ECHO and 2 kΩ to ground must be before the pin."
                .to_owned(),
        ),
        "relay" => {
            part.notes.push(
                "A relay board with transistors or optocouplers: a pin cannot drive a coil.".to_owned(),
            );
            part.warnings
                .push("If the inputs of the board have 5 V, use one whose logic supply is 3.3 V.".to_owned());
        }
        "servo" => part.warnings.push(
            "A servo takes up to 1 A: give it a supply of its own, with the ground of the Pi.".to_owned(),
        ),
        "button" | "contact" | "counter" => part.warnings.extend(missing_pull(settings)),
        _ => {}
    }
    part
}

fn supply(driver: &str, connections: &[Connection]) -> Option<Function> {
    let is_bus = |connection: &Connection| !matches!(connection, Connection::Gpio { .. });
    match driver {
        "motion" | "hcsr04" | "relay" | "servo" => Some(Function::Volts5),
        "hx711" => Some(Function::Volts3),
        _ if connections.iter().any(is_bus) => Some(Function::Volts3),
        _ => None,
    }
}

/// A contact to ground whose open pin has no level.
fn missing_pull(settings: &Map<String, Value>) -> Option<String> {
    match settings.get("pull").and_then(Value::as_str) {
        Some("none") => {
            Some("Without a pull resistor in the Pi: add 10 kΩ from the pin to 3.3 V.".to_owned())
        }
        Some("down") => {
            Some("With `pull = \"down\"` the contact connects the pin to 3.3 V, not to ground.".to_owned())
        }
        _ => None,
    }
}
