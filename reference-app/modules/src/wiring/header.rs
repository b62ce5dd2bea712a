//! The 40-pin header of a Raspberry Pi.

use iotpi_hal::catalog::Pin;

/// What a pin of the header is, or what a device uses it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Volts3,
    Volts5,
    Ground,
    I2c,
    Spi,
    OneWire,
    Gpio,
    Reserved,
}

impl Function {
    /// All functions, in the order of the legend.
    pub const ALL: [Self; 8] = [
        Self::Volts3,
        Self::Volts5,
        Self::Ground,
        Self::I2c,
        Self::Spi,
        Self::OneWire,
        Self::Gpio,
        Self::Reserved,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Volts3 => "3.3 V",
            Self::Volts5 => "5 V",
            Self::Ground => "ground",
            Self::I2c => "I2C",
            Self::Spi => "SPI",
            Self::OneWire => "1-Wire",
            Self::Gpio => "GPIO",
            Self::Reserved => "reserved",
        }
    }

    /// They can be distinguished on white, also with red-green colour blindness.
    pub fn colour(self) -> &'static str {
        match self {
            Self::Volts3 => "#e8710a",
            Self::Volts5 => "#c5221f",
            Self::Ground => "#202124",
            Self::I2c => "#1a73e8",
            Self::Spi => "#8430ce",
            Self::OneWire => "#00897b",
            Self::Gpio => "#5f8f00",
            Self::Reserved => "#9aa0a6",
        }
    }
}

pub const VOLTS_3: [u8; 2] = [1, 17];
pub const VOLTS_5: [u8; 2] = [2, 4];
pub const GROUNDS: [u8; 8] = [6, 9, 14, 20, 25, 30, 34, 39];
/// I2C bus 1: SDA and SCL.
pub const I2C: [u8; 2] = [3, 5];
/// SPI bus 0: MOSI, MISO and SCLK.
pub const SPI: [u8; 3] = [19, 21, 23];
/// SPI bus 0: chip selects 0 and 1.
pub const CHIP_SELECTS: [u8; 2] = [24, 26];
/// The default pin of the 1-Wire overlay.
pub const ONE_WIRE: u8 = 7;
/// The EEPROM of an add-on board.
const RESERVED: [u8; 2] = [27, 28];

/// The function of a pin, 1 to 40, if no device uses it for another one.
pub fn function(position: u8) -> Function {
    if VOLTS_3.contains(&position) {
        Function::Volts3
    } else if VOLTS_5.contains(&position) {
        Function::Volts5
    } else if GROUNDS.contains(&position) {
        Function::Ground
    } else if RESERVED.contains(&position) {
        Function::Reserved
    } else {
        Function::Gpio
    }
}

/// The label of a pin, 1 to 40.
pub fn label(position: u8) -> String {
    match function(position) {
        Function::Gpio => {
            format!("BOARD{position}").parse::<Pin>().map_or_else(|error| error, |pin| pin.to_string())
        }
        function => function.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_has_a_label() {
        let labels: Vec<_> = (1..=40).map(label).collect();

        assert_eq!(labels[..4], ["3.3 V", "5 V", "GPIO2", "5 V"]);
        assert_eq!(labels[38..], ["ground", "GPIO21"]);
        assert_eq!(labels.iter().filter(|label| label.starts_with("GPIO")).count(), 26);
    }
}
