//! Units of measurement: a table of known ones with their synonyms and conversions, and an open end.
//!
//! Words are the wire's names; UCUM codes (ucum.org) and SenML codes (RFC 8428 section 12.1, RFC 8798) are read as
//! synonyms. Deliberately absent: compound units and dimensional analysis.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a unit measures: units of one dimension convert into each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dimension {
    Temperature,
    Ratio,
    Pressure,
    Illuminance,
    Time,
    Length,
    Speed,
    Mass,
    Voltage,
    Current,
    Power,
    Energy,
    Frequency,
    Information,
    Concentration,
    SoundLevel,
    Angle,
    Acceleration,
    Radiation,
    Truth,
    Count,
}

#[derive(Debug)]
struct Known {
    word: &'static str,
    synonyms: &'static [&'static str],
    dimension: Dimension,
    /// value in the dimension's base unit = value * factor + offset
    factor: f64,
    offset: f64,
}

const fn unit(
    word: &'static str,
    synonyms: &'static [&'static str],
    dimension: Dimension,
    factor: f64,
) -> Known {
    Known { word, synonyms, dimension, factor, offset: 0.0 }
}

/// The first unit of a dimension is its base. Factors are exact by definition (SI brochure, NIST SP 811 appendix B).
static KNOWN: &[Known] = {
    use Dimension::*;
    &[
        Known { word: "kelvin", synonyms: &["K"], dimension: Temperature, factor: 1.0, offset: 0.0 },
        Known {
            word: "celsius",
            synonyms: &["Cel", "°C", "degC", "C"],
            dimension: Temperature,
            factor: 1.0,
            offset: 273.15,
        },
        Known {
            word: "fahrenheit",
            synonyms: &["[degF]", "°F", "degF", "F"],
            dimension: Temperature,
            factor: 5.0 / 9.0,
            offset: 459.67 * 5.0 / 9.0,
        },
        unit("percent", &["%", "%RH"], Ratio, 0.01),
        unit("ratio", &["/", "1"], Ratio, 1.0),
        unit("pascal", &["Pa"], Pressure, 1.0),
        unit("hectopascal", &["hPa", "mbar", "millibar"], Pressure, 100.0),
        unit("kilopascal", &["kPa"], Pressure, 1000.0),
        unit("bar", &[], Pressure, 100_000.0),
        unit("psi", &["[psi]"], Pressure, 6_894.757_293_168_361),
        unit("lux", &["lx"], Illuminance, 1.0),
        unit("seconds", &["s", "second"], Time, 1.0),
        unit("milliseconds", &["ms"], Time, 0.001),
        unit("minutes", &["min"], Time, 60.0),
        unit("hours", &["h"], Time, 3600.0),
        unit("metre", &["m", "meter"], Length, 1.0),
        unit("millimetre", &["mm", "millimeter"], Length, 0.001),
        unit("centimetre", &["cm", "centimeter"], Length, 0.01),
        unit("kilometre", &["km", "kilometer"], Length, 1000.0),
        unit("metre_per_second", &["m/s"], Speed, 1.0),
        unit("kilometre_per_hour", &["km/h"], Speed, 1.0 / 3.6),
        unit("kilogram", &["kg"], Mass, 1.0),
        unit("gram", &["g"], Mass, 0.001),
        unit("volt", &["V"], Voltage, 1.0),
        unit("millivolt", &["mV"], Voltage, 0.001),
        unit("ampere", &["A"], Current, 1.0),
        unit("milliampere", &["mA"], Current, 0.001),
        unit("watt", &["W"], Power, 1.0),
        unit("kilowatt", &["kW"], Power, 1000.0),
        unit("joule", &["J"], Energy, 1.0),
        unit("watt_hour", &["Wh"], Energy, 3600.0),
        unit("kilowatt_hour", &["kWh"], Energy, 3_600_000.0),
        unit("hertz", &["Hz"], Frequency, 1.0),
        unit("kilohertz", &["kHz"], Frequency, 1000.0),
        unit("megahertz", &["MHz"], Frequency, 1_000_000.0),
        unit("bytes", &["B", "By", "byte"], Information, 1.0),
        unit("kibibytes", &["KiB"], Information, 1024.0),
        unit("mebibytes", &["MiB"], Information, 1_048_576.0),
        unit("ppm", &["[ppm]"], Concentration, 1.0),
        unit("ppb", &["[ppb]"], Concentration, 0.001),
        unit("decibel", &["dB"], SoundLevel, 1.0),
        unit("degree", &["deg", "°"], Angle, 1.0),
        unit("radian", &["rad"], Angle, 180.0 / std::f64::consts::PI),
        unit("metre_per_second_squared", &["m/s2"], Acceleration, 1.0),
        unit("sievert_per_hour", &["Sv/h"], Radiation, 1.0),
        unit("microsievert_per_hour", &["uSv/h"], Radiation, 1e-6),
        unit("boolean", &["bool"], Truth, 1.0),
        unit("count", &["{count}"], Count, 1.0),
    ]
};

/// A unit of measurement.
///
/// ```
/// use iotpi_core::Unit;
///
/// let fahrenheit: Unit = "[degF]".parse()?;
/// assert_eq!(fahrenheit.to_string(), "fahrenheit");
/// assert!((Unit::CELSIUS.of(212.0, &fahrenheit).unwrap() - 100.0).abs() < 1e-9);
/// # Ok::<(), iotpi_core::InvalidUnit>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^([!-~]{1,32}|°[CF]?)$", min_length = 1, max_length = 32, example = "celsius"))]
#[serde(try_from = "String", into = "String")]
pub struct Unit(Name);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    /// The word of a row of `KNOWN`.
    Known(&'static str),
    Custom(Box<str>),
}

/// Why a text is not a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a unit is 1 to 32 printable ASCII characters without spaces")]
pub struct InvalidUnit;

impl Unit {
    /// Degrees Celsius.
    pub const CELSIUS: Self = Self(Name::Known("celsius"));
    /// Per cent.
    pub const PERCENT: Self = Self(Name::Known("percent"));
    /// Pascal.
    pub const PASCAL: Self = Self(Name::Known("pascal"));
    /// Lux.
    pub const LUX: Self = Self(Name::Known("lux"));
    /// Volt.
    pub const VOLT: Self = Self(Name::Known("volt"));
    /// Ampere.
    pub const AMPERE: Self = Self(Name::Known("ampere"));
    /// Watt.
    pub const WATT: Self = Self(Name::Known("watt"));
    /// Metre.
    pub const METRE: Self = Self(Name::Known("metre"));
    /// Parts per million.
    pub const PPM: Self = Self(Name::Known("ppm"));
    /// Hertz.
    pub const HERTZ: Self = Self(Name::Known("hertz"));
    /// Seconds.
    pub const SECONDS: Self = Self(Name::Known("seconds"));
    /// Bytes.
    pub const BYTES: Self = Self(Name::Known("bytes"));
    /// True (1) or false (0).
    pub const BOOLEAN: Self = Self(Name::Known("boolean"));
    /// A plain number of things.
    pub const COUNT: Self = Self(Name::Known("count"));

    /// Reads a word, UCUM or SenML code; a text that is none of them becomes a custom unit.
    ///
    /// # Errors
    /// [`InvalidUnit`] when the text is empty, too long, or not printable.
    pub fn parse(text: &str) -> Result<Self, InvalidUnit> {
        if let Some(known) = KNOWN.iter().find(|k| k.word == text || k.synonyms.contains(&text)) {
            return Ok(Self(Name::Known(known.word)));
        }
        if text.is_empty() || text.len() > 32 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidUnit);
        }
        Ok(Self(Name::Custom(text.into())))
    }

    /// The unit's word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Known(word) => word,
            Name::Custom(word) => word,
        }
    }

    fn known(&self) -> Option<&'static Known> {
        match self.0 {
            Name::Known(word) => KNOWN.iter().find(|k| k.word == word),
            Name::Custom(_) => None,
        }
    }

    /// `value` given in `from`, said in this unit; nothing when the two do not measure the same.
    #[must_use]
    pub fn of(&self, value: f64, from: &Self) -> Option<f64> {
        if self == from {
            return Some(value);
        }
        let (to, from) = (self.known()?, from.known()?);
        (to.dimension == from.dimension)
            .then(|| (value * from.factor + (from.offset - to.offset)) / to.factor)
    }

    /// The words of the units that convert into this one, itself first.
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
mod tests {
    use super::*;

    #[test]
    fn no_word_or_synonym_stands_twice() {
        let mut seen = std::collections::HashSet::new();
        for name in KNOWN.iter().flat_map(|k| std::iter::once(&k.word).chain(k.synonyms)) {
            assert!(seen.insert(*name), "{name}");
        }
    }

    #[test]
    fn known_points_convert() {
        let of =
            |to: &str, value, from: &str| Unit::parse(to).unwrap().of(value, &Unit::parse(from).unwrap());

        for (to, value, from, expected) in [
            ("celsius", 32.0, "fahrenheit", 0.0),
            ("celsius", 0.0, "K", -273.15),
            ("fahrenheit", -40.0, "Cel", -40.0),
            ("percent", 0.5, "/", 50.0),
            ("pascal", 1013.25, "hPa", 101_325.0),
            ("hours", 90.0, "min", 1.5),
        ] {
            let got = of(to, value, from).unwrap();
            assert!((got - expected).abs() < 1e-9, "{value} {from} is {got} {to}");
        }
        assert_eq!(of("celsius", 1.0, "pascal"), None);
        assert_eq!(of("bunches", 1.0, "bananas"), None);
        assert_eq!(of("bunches", 3.0, "bunches"), Some(3.0));
    }

    #[test]
    fn a_unit_of_ones_own_is_kept_and_nonsense_is_refused() {
        assert_eq!(Unit::parse("bunches").unwrap().to_string(), "bunches");
        for text in ["", "a b", "new\nline", &"x".repeat(33)] {
            assert_eq!(Unit::parse(text), Err(InvalidUnit));
        }
    }
}
