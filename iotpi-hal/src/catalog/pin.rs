//! The number of a pin in settings.

use std::{fmt, path::Path, str::FromStr};

use iotpi_core::{DeviceError, DeviceErrorKind};
use serde::{Deserialize, Deserializer, Serialize, de};

/// The BCM number of each pin of the 40-pin header, from pin 1; `None` for power, ground and reserved pins.
const HEADER: [Option<u8>; 40] = {
    const fn bcm(number: u8) -> Option<u8> {
        Some(number)
    }
    [
        None,
        None,
        bcm(2),
        None,
        bcm(3),
        None,
        bcm(4),
        bcm(14),
        None,
        bcm(15),
        bcm(17),
        bcm(18),
        bcm(27),
        None,
        bcm(22),
        bcm(23),
        None,
        bcm(24),
        bcm(10),
        None,
        bcm(9),
        bcm(25),
        bcm(11),
        bcm(8),
        None,
        bcm(7),
        bcm(0),
        bcm(1),
        bcm(5),
        None,
        bcm(6),
        bcm(12),
        bcm(13),
        None,
        bcm(19),
        bcm(16),
        bcm(26),
        bcm(20),
        None,
        bcm(21),
    ]
};
/// The name by which a deserializer recognizes a pin.
pub(super) const TYPE_NAME: &str = "iotpi_hal::catalog::Pin";
/// The highest BCM number on the header.
const LAST: u8 = 27;

/// A pin in settings: its BCM number (`17`), or a string with the BCM number (`"GPIO17"`, `"BCM17"`) or with the
/// position on the 40-pin header (`"BOARD11"`).
///
/// ```
/// use iotpi_hal::catalog::Pin;
///
/// let pin: Pin = "BOARD11".parse()?;
/// assert_eq!((pin.bcm(), pin.to_string().as_str()), (17, "GPIO17"));
/// assert_eq!("board2".parse::<Pin>().unwrap_err(), "pin 2 of the header is no GPIO: it is power, ground or reserved");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Pin(u8);

impl Pin {
    /// The BCM number. On another board than a Raspberry Pi, the number of the line.
    #[must_use]
    pub fn bcm(self) -> u8 {
        self.0
    }

    /// The position on the 40-pin header, 1 to 40, if the pin is there.
    #[must_use]
    pub fn board(self) -> Option<u8> {
        (1..).zip(HEADER).find(|(_, bcm)| *bcm == Some(self.0)).map(|(position, _)| position)
    }

    /// The number, if the pin is on the header, or if the GPIO chip is named: another board has more lines.
    pub(super) fn checked(self, chip: Option<&Path>) -> Result<u8, DeviceError> {
        if chip.is_none() && self.0 > LAST {
            let text = format!("there is no pin {}: the header has GPIO0 to GPIO{LAST}", self.0);
            return Err(DeviceError::new(DeviceErrorKind::Refused, text));
        }
        Ok(self.0)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GPIO{}", self.0)
    }
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let number = |digits: &str| digits.parse::<u8>().ok();
        if let Some(position) = upper.strip_prefix("BOARD").and_then(number) {
            return match HEADER.get(usize::from(position).wrapping_sub(1)) {
                Some(Some(bcm)) => Ok(Self(*bcm)),
                Some(None) => {
                    Err(format!("pin {position} of the header is no GPIO: it is power, ground or reserved"))
                }
                None => Err(format!("there is no pin {position} on the header: it has 40")),
            };
        }
        let digits = upper.strip_prefix("GPIO").or_else(|| upper.strip_prefix("BCM")).unwrap_or(&upper);
        number(digits)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no pin: write 17, \"GPIO17\" or \"BOARD11\""))
    }
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Pin;

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Pin, D::Error> {
                deserializer.deserialize_any(self)
            }

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pin: 17, \"GPIO17\" or \"BOARD11\"")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Pin, E> {
                u8::try_from(number).map(Pin).map_err(|_| E::custom(format!("there is no pin {number}")))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Pin, E> {
                u8::try_from(number).map(Pin).map_err(|_| E::custom(format!("there is no pin {number}")))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pin, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_newtype_struct(TYPE_NAME, Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(json: &str) -> Result<u8, String> {
        serde_json::from_str::<Pin>(json).map(Pin::bcm).map_err(|error| error.to_string())
    }

    #[test]
    fn a_pin_is_a_number_or_a_name() {
        for (json, bcm) in
            [("17", 17), ("\"GPIO17\"", 17), ("\"bcm4\"", 4), ("\"BOARD40\"", 21), ("\"5\"", 5)]
        {
            assert_eq!(pin(json), Ok(bcm), "{json}");
        }
    }

    #[test]
    fn the_error_for_a_wrong_pin_says_what_is_possible() {
        for (json, message) in [
            ("300", "there is no pin 300"),
            ("-1", "there is no pin -1"),
            ("\"BOARD1\"", "power, ground or reserved"),
            ("\"BOARD41\"", "it has 40"),
            ("\"LED\"", "write 17"),
            ("true", "GPIO17"),
        ] {
            let error = pin(json).unwrap_err();
            assert!(error.contains(message), "{json}: {error}");
        }
    }

    #[test]
    fn the_header_has_each_gpio_once() {
        let mut all: Vec<u8> = HEADER.into_iter().flatten().collect();
        all.sort_unstable();

        assert_eq!(all, (0..=LAST).collect::<Vec<_>>());
        assert_eq!(Pin(17).board(), Some(11));
    }

    #[test]
    fn a_pin_beyond_the_header_needs_the_name_of_its_chip() {
        let error = Pin(40).checked(None).unwrap_err();

        assert!(error.to_string().contains("there is no pin 40: the header has GPIO0 to GPIO27"), "{error}");
        assert_eq!(Pin(71).checked(Some(Path::new("/dev/gpiochip1"))).unwrap(), 71);
    }
}
