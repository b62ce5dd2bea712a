//! Units of measurement: a table of known units with their spellings and conversions, and custom units.
//!
//! Words are the names on the wire; UCUM and SenML codes, the usual symbols and other spellings are accepted
//! as synonyms. Deliberately absent: compound units and dimensional analysis.

mod exact;
mod spelling;
mod table;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use table::{KNOWN, Known};

/// The maximum length of a custom unit in characters.
pub const MAX_UNIT_LEN: usize = 32;
/// The maximum size of a text that is parsed, in bytes: the longest spelling of a known unit is shorter.
const MAX_TEXT_BYTES: usize = 256;

/// A unit of measurement.
///
/// ```
/// use iotpi_core::Unit;
///
/// let fahrenheit: Unit = "[degF]".parse()?;
/// assert_eq!(fahrenheit.to_string(), "fahrenheit");
/// assert_eq!(Unit::CELSIUS.of(212.0, &fahrenheit), Some(100.0));
/// assert_eq!("µg/m³".parse::<Unit>()?, "ug/m3".parse()?);
/// # Ok::<(), iotpi_core::model::unit::InvalidUnit>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(description = "A unit of measurement: one of the known units in any of its spellings, or a custom one.", value_type = String, min_length = 1, max_length = 256, example = "celsius"))]
#[serde(try_from = "String", into = "String")]
pub struct Unit(Name);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    /// The word of a row of `KNOWN`.
    Known(&'static str),
    Custom(Box<str>),
}

/// The text is not a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a unit is a word or symbol of 1 to {MAX_UNIT_LEN} characters, such as celsius, % or µg/m³; without a unit, send \"1\""
)]
pub struct InvalidUnit;

impl Unit {
    /// Degrees Celsius.
    pub const CELSIUS: Self = Self(Name::Known("celsius"));
    /// Per cent (%).
    pub const PERCENT: Self = Self(Name::Known("percent"));
    /// Pascal (Pa).
    pub const PASCAL: Self = Self(Name::Known("pascal"));
    /// Lux (lx).
    pub const LUX: Self = Self(Name::Known("lux"));
    /// Volt (V).
    pub const VOLT: Self = Self(Name::Known("volt"));
    /// Ampere (A).
    pub const AMPERE: Self = Self(Name::Known("ampere"));
    /// Watt (W).
    pub const WATT: Self = Self(Name::Known("watt"));
    /// Metre (m).
    pub const METRE: Self = Self(Name::Known("metre"));
    /// Parts per million.
    pub const PPM: Self = Self(Name::Known("ppm"));
    /// Hertz (Hz).
    pub const HERTZ: Self = Self(Name::Known("hertz"));
    /// Seconds (s).
    pub const SECONDS: Self = Self(Name::Known("seconds"));
    /// Bytes (B).
    pub const BYTES: Self = Self(Name::Known("bytes"));
    /// True (1) or false (0).
    pub const BOOLEAN: Self = Self(Name::Known("boolean"));
    /// A count of things.
    pub const COUNT: Self = Self(Name::Known("count"));

    /// No unit, as for pH or an index.
    pub const NONE: Self = Self(Name::Known("none"));

    /// Parses a word, a UCUM or SenML code, a symbol, or another spelling of a known unit. Any other text
    /// becomes a custom unit, with one spelling for each sign (`µ` is `u`, `³` is `3`, `Ω` is `ohm`).
    ///
    /// # Errors
    /// [`InvalidUnit`] if the text is empty, longer than [`MAX_UNIT_LEN`] characters, or has control
    /// characters.
    pub fn parse(text: &str) -> Result<Self, InvalidUnit> {
        if let Some(known) = spelling::exact(text) {
            return Ok(Self(Name::Known(known.word)));
        }
        if text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
            return Err(InvalidUnit);
        }
        let folded = spelling::fold(text);
        if let Some(known) = spelling::known(&folded) {
            return Ok(Self(Name::Known(known.word)));
        }
        if folded.is_empty() || folded.chars().count() > MAX_UNIT_LEN {
            return Err(InvalidUnit);
        }
        Ok(Self(Name::Custom(folded.into())))
    }

    /// The word of the unit.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Known(word) => word,
            Name::Custom(word) => word,
        }
    }

    fn known(&self) -> Option<&'static Known> {
        match self.0 {
            Name::Known(word) => spelling::exact(word),
            Name::Custom(_) => None,
        }
    }

    /// Whether it is not a physical unit: a boolean, a count, a ratio of one, or no unit.
    #[must_use]
    pub fn is_plain_number(&self) -> bool {
        [Self::BOOLEAN, Self::COUNT, Self::NONE].contains(self) || self.as_str() == "ratio"
    }

    /// Converts `value` from the unit `from` to this one; `None` if the two do not measure the same. Exact if
    /// the decimal result is: 32 degrees Fahrenheit are 0 degrees Celsius. Booleans are also 1 and 0 of a
    /// plain number.
    #[must_use]
    pub fn of(&self, value: f64, from: &Self) -> Option<f64> {
        if self == from || *from == Self::BOOLEAN && self.is_plain_number() {
            return Some(value);
        }
        let (to, from) = (self.known()?, from.known()?);
        (to.dimension == from.dimension).then(|| exact::convert(value, from, to))
    }

    /// The words of the units that convert into this one, beginning with its own.
    #[must_use]
    pub fn alternatives(&self) -> Vec<&str> {
        let mut words = vec![self.as_str()];
        if let Some(this) = self.known() {
            words.extend(
                KNOWN.iter().filter(|k| k.dimension == this.dimension && k.word != this.word).map(|k| k.word),
            );
        }
        words
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for Unit {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Unit {
    type Error = InvalidUnit;

    fn try_from(text: String) -> Result<Self, InvalidUnit> {
        Self::parse(&text)
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> Self {
        unit.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests;
