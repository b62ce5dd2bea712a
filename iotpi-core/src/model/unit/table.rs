//! The known units: word, codes, names, and the conversion to the base unit of the dimension.
//!
//! Factors are exact by definition (SI brochure; NIST SP 811, appendix B), written as integer fractions so
//! that a conversion can be exact. UCUM codes are from ucum.org, SenML codes from RFC 8428 section 12.1 and
//! RFC 8798.

/// The dimension of a unit. Units of one dimension convert into each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dimension {
    Temperature,
    Ratio,
    Pressure,
    Illuminance,
    Time,
    Length,
    Area,
    Volume,
    Flow,
    Speed,
    Mass,
    Force,
    Voltage,
    Current,
    Charge,
    Resistance,
    Conductivity,
    Power,
    Level,
    Irradiance,
    Energy,
    Frequency,
    Information,
    Concentration,
    Density,
    SoundLevel,
    WeightedSoundLevel,
    Angle,
    AngularRate,
    Acceleration,
    MagneticField,
    Radiation,
    Radioactivity,
    Radon,
    Truth,
    Count,
}

/// The factor to the base unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Factor {
    /// The numerator and the denominator.
    Exact(i64, i64),
    /// A number that is not an exact fraction.
    Rounded(f64),
}

/// A known unit. `value in the base unit = value * factor + offset`.
#[derive(Debug)]
pub(super) struct Known {
    /// The word on the wire.
    pub(super) word: &'static str,
    /// Codes and symbols as [`spelling`](super::spelling) normalizes them, separated by spaces. Case matters
    /// only where two units differ in nothing else.
    pub(super) codes: &'static str,
    /// Other words, separated by spaces; case, plural and separators do not matter.
    pub(super) names: &'static str,
    pub(super) dimension: Dimension,
    pub(super) factor: Factor,
    /// The numerator and the denominator of the offset.
    pub(super) offset: (i64, i64),
}

const fn unit(
    word: &'static str,
    codes: &'static str,
    names: &'static str,
    dimension: Dimension,
    numerator: i64,
    denominator: i64,
) -> Known {
    Known { word, codes, names, dimension, factor: Factor::Exact(numerator, denominator), offset: (0, 1) }
}

const fn rounded(word: &'static str, codes: &'static str, dimension: Dimension, factor: f64) -> Known {
    Known { word, codes, names: "", dimension, factor: Factor::Rounded(factor), offset: (0, 1) }
}

const fn degrees(
    word: &'static str,
    codes: &'static str,
    names: &'static str,
    factor: (i64, i64),
    offset: (i64, i64),
) -> Known {
    let factor = Factor::Exact(factor.0, factor.1);
    Known { word, codes, names, dimension: Dimension::Temperature, factor, offset }
}

/// The first unit of a dimension is its base, unless the factors say otherwise.
#[rustfmt::skip]
pub(super) static KNOWN: &[Known] = {
    use Dimension::*;
    &[
        degrees("kelvin", "K", "degk", (1, 1), (0, 1)),
        degrees("celsius", "Cel °C degC C c", "°c degc degreecelsius centigrade degreecentigrade celcius", (1, 1), (27_315, 100)),
        degrees("fahrenheit", "[degF] °F degF F f", "°f degf degreefahrenheit farenheit fahrenheight", (5, 9), (45_967, 180)),

        unit("percent", "% %RH [%]", "pct percentage rh percentrh relativehumidity", Ratio, 1, 100),
        unit("ratio", "/ m3/m3", "fraction", Ratio, 1, 1),
        unit("permille", "‰ [pmil]", "permil", Ratio, 1, 1000),
        unit("none", "1 {1}", "unitless dimensionless nounit", Ratio, 1, 1),

        unit("pascal", "Pa", "", Pressure, 1, 1),
        unit("hectopascal", "hPa", "mbar mb millibar", Pressure, 100, 1),
        unit("kilopascal", "kPa", "", Pressure, 1000, 1),
        unit("megapascal", "MPa", "", Pressure, 1_000_000, 1),
        unit("bar", "", "", Pressure, 100_000, 1),
        unit("psi", "[psi] lb/in2 lbf/in2", "poundpersquareinch", Pressure, 8_896_443_230_521, 1_290_320_000),
        unit("millimetre_of_mercury", "mm[Hg]", "mmhg", Pressure, 133_322_387_415, 1_000_000_000),
        unit("inch_of_mercury", "in[Hg] [in_i'Hg]", "inhg inchmercury inchesmercury", Pressure, 3_386_388_640_341, 1_000_000_000),
        unit("torr", "", "", Pressure, 20_265, 152),
        unit("atmosphere", "atm", "", Pressure, 101_325, 1),

        unit("lux", "lx", "", Illuminance, 1, 1),
        unit("kilolux", "klx", "klux", Illuminance, 1000, 1),
        unit("foot_candle", "fc", "ftc", Illuminance, 100_000_000, 9_290_304),

        unit("seconds", "s", "sec second", Time, 1, 1),
        unit("milliseconds", "ms", "msec millisecond", Time, 1, 1000),
        unit("microseconds", "us", "usec microsecond", Time, 1, 1_000_000),
        unit("minutes", "min", "minute mins", Time, 60, 1),
        unit("hours", "h", "hr hour", Time, 3600, 1),
        unit("days", "d", "day", Time, 86_400, 1),

        unit("metre", "m", "", Length, 1, 1),
        unit("millimetre", "mm", "", Length, 1, 1000),
        unit("centimetre", "cm", "", Length, 1, 100),
        unit("kilometre", "km", "", Length, 1000, 1),
        unit("micrometre", "um", "micron", Length, 1, 1_000_000),
        unit("inch", "in [in_i] \"", "inches", Length, 254, 10_000),
        unit("foot", "ft [ft_i] '", "feet", Length, 3048, 10_000),
        unit("yard", "yd [yd_i]", "", Length, 9144, 10_000),
        unit("mile", "mi [mi_i]", "", Length, 1_609_344, 1000),
        unit("nautical_mile", "nmi [nmi_i]", "", Length, 1852, 1),

        unit("square_metre", "m2", "sqm", Area, 1, 1),
        unit("square_centimetre", "cm2", "sqcm", Area, 1, 10_000),
        unit("square_foot", "ft2 [sft_i]", "sqft squarefeet", Area, 9_290_304, 100_000_000),
        unit("hectare", "ha har", "", Area, 10_000, 1),

        unit("cubic_metre", "m3", "cbm", Volume, 1, 1),
        unit("litre", "L l dm3", "ltr cubicdecimetre", Volume, 1, 1000),
        unit("millilitre", "mL ml", "", Volume, 1, 1_000_000),
        unit("cubic_centimetre", "cm3", "ccm cc", Volume, 1, 1_000_000),
        unit("cubic_foot", "ft3 [cft_i]", "cuft cubicfeet", Volume, 28_316_846_592, 1_000_000_000_000),
        unit("gallon", "gal [gal_us]", "usgallon", Volume, 3_785_411_784, 1_000_000_000_000),
        unit("imperial_gallon", "[gal_br]", "ukgallon", Volume, 454_609, 100_000_000),
        unit("fluid_ounce", "[foz_us]", "floz", Volume, 3_785_411_784, 128_000_000_000_000),

        unit("cubic_metre_per_second", "m3/s", "", Flow, 1, 1),
        unit("cubic_metre_per_hour", "m3/h", "cmh", Flow, 1, 3600),
        unit("litre_per_second", "L/s l/s", "", Flow, 1, 1000),
        unit("litre_per_minute", "L/min l/min", "lpm", Flow, 1, 60_000),
        unit("litre_per_hour", "L/h l/h", "lph", Flow, 1, 3_600_000),
        unit("gallon_per_minute", "gal/min [gal_us]/min", "gpm", Flow, 3_785_411_784, 60_000_000_000_000),
        unit("cubic_foot_per_minute", "ft3/min [cft_i]/min", "cfm cubicfeetperminute", Flow, 28_316_846_592, 60_000_000_000_000),

        unit("metre_per_second", "m/s", "mps", Speed, 1, 1),
        unit("kilometre_per_hour", "km/h", "kmh kph kmph", Speed, 10, 36),
        unit("mile_per_hour", "mi/h [mi_i]/h", "mph", Speed, 44_704, 100_000),
        unit("foot_per_second", "ft/s [ft_i]/s", "feetpersecond", Speed, 3048, 10_000),
        unit("knot", "kn kt [kn_i]", "kts", Speed, 463, 900),
        unit("millimetre_per_hour", "mm/h mm/hr", "mmh", Speed, 1, 3_600_000),
        unit("inch_per_hour", "in/h in/hr [in_i]/h", "inchesperhour", Speed, 254, 36_000_000),

        unit("kilogram", "kg", "", Mass, 1, 1),
        unit("gram", "g", "", Mass, 1, 1000),
        unit("milligram", "mg", "", Mass, 1, 1_000_000),
        unit("microgram", "ug", "mcg", Mass, 1, 1_000_000_000),
        unit("tonne", "t", "metricton", Mass, 1000, 1),
        unit("pound", "lb [lb_av]", "lbs", Mass, 45_359_237, 100_000_000),
        unit("ounce", "oz [oz_av]", "", Mass, 45_359_237, 1_600_000_000),

        unit("newton", "N", "", Force, 1, 1),

        unit("volt", "V", "voltdc", Voltage, 1, 1),
        unit("millivolt", "mV", "", Voltage, 1, 1000),
        unit("microvolt", "uV", "", Voltage, 1, 1_000_000),
        unit("kilovolt", "kV", "", Voltage, 1000, 1),
        unit("megavolt", "MV", "", Voltage, 1_000_000, 1),
        unit("ampere", "A", "amp", Current, 1, 1),
        unit("milliampere", "mA", "milliamp", Current, 1, 1000),
        unit("microampere", "uA", "microamp", Current, 1, 1_000_000),
        unit("ampere_hour", "Ah A.h", "amphour", Charge, 1, 1),
        unit("milliampere_hour", "mAh mA.h", "milliamphour", Charge, 1, 1000),
        unit("ohm", "Ohm", "", Resistance, 1, 1),
        unit("milliohm", "mohm mOhm", "", Resistance, 1, 1000),
        unit("kiloohm", "kohm kOhm", "kilohm", Resistance, 1000, 1),
        unit("megaohm", "Mohm MOhm", "megohm", Resistance, 1_000_000, 1),
        unit("siemens_per_metre", "S/m", "", Conductivity, 1, 1),
        unit("millisiemens_per_centimetre", "mS/cm", "", Conductivity, 1, 10),
        unit("microsiemens_per_centimetre", "uS/cm", "", Conductivity, 1, 10_000),

        unit("watt", "W", "", Power, 1, 1),
        unit("milliwatt", "mW", "", Power, 1, 1000),
        unit("kilowatt", "kW", "", Power, 1000, 1),
        unit("megawatt", "MW", "", Power, 1_000_000, 1),
        unit("decibel_milliwatt", "dBm dB[mW]", "", Level, 1, 1),
        unit("watt_per_square_metre", "W/m2", "", Irradiance, 1, 1),
        unit("joule", "J", "", Energy, 1, 1),
        unit("kilojoule", "kJ", "", Energy, 1000, 1),
        unit("megajoule", "MJ", "", Energy, 1_000_000, 1),
        unit("watt_hour", "Wh W.h", "", Energy, 3600, 1),
        unit("milliwatt_hour", "mWh mW.h", "", Energy, 36, 10),
        unit("kilowatt_hour", "kWh kW.h", "", Energy, 3_600_000, 1),
        unit("megawatt_hour", "MWh MW.h", "", Energy, 3_600_000_000, 1),
        unit("calorie", "cal", "", Energy, 4184, 1000),
        unit("kilocalorie", "kcal", "", Energy, 4184, 1),
        unit("british_thermal_unit", "[Btu_IT]", "btu", Energy, 105_505_585_262, 100_000_000),

        unit("hertz", "Hz", "", Frequency, 1, 1),
        unit("kilohertz", "kHz", "", Frequency, 1000, 1),
        unit("megahertz", "MHz", "mhz", Frequency, 1_000_000, 1),
        unit("gigahertz", "GHz", "", Frequency, 1_000_000_000, 1),
        unit("revolution_per_minute", "r/min", "rpm", Frequency, 1, 60),
        unit("bytes", "B By", "byte", Information, 1, 1),
        unit("kibibytes", "KiB", "kibibyte", Information, 1024, 1),
        unit("mebibytes", "MiB", "mebibyte", Information, 1_048_576, 1),
        unit("gibibytes", "GiB", "gibibyte", Information, 1_073_741_824, 1),
        unit("kilobytes", "kB KB", "kilobyte", Information, 1000, 1),
        unit("megabytes", "MB", "megabyte", Information, 1_000_000, 1),
        unit("gigabytes", "GB", "gigabyte", Information, 1_000_000_000, 1),
        unit("bits", "bit", "", Information, 1, 8),

        unit("ppm", "[ppm]", "partpermillion", Concentration, 1, 1),
        unit("ppb", "[ppb]", "partperbillion", Concentration, 1, 1000),
        unit("kilogram_per_cubic_metre", "kg/m3", "", Density, 1000, 1),
        unit("gram_per_cubic_metre", "g/m3", "", Density, 1, 1),
        unit("milligram_per_cubic_metre", "mg/m3", "", Density, 1, 1000),
        unit("microgram_per_cubic_metre", "ug/m3", "mcgperm3", Density, 1, 1_000_000),
        unit("milligram_per_litre", "mg/L mg/l", "", Density, 1, 1),
        unit("microgram_per_litre", "ug/L ug/l", "", Density, 1, 1000),

        unit("decibel", "dB", "", SoundLevel, 1, 1),
        unit("a_weighted_decibel", "dBA dB(A) dB[A]", "", WeightedSoundLevel, 1, 1),
        unit("degree", "deg °", "", Angle, 1, 1),
        rounded("radian", "rad", Angle, 180.0 / std::f64::consts::PI),
        unit("degree_per_second", "deg/s °/s", "dps", AngularRate, 1, 1),
        rounded("radian_per_second", "rad/s", AngularRate, 180.0 / std::f64::consts::PI),
        unit("metre_per_second_squared", "m/s2 m/s/s", "", Acceleration, 1, 1),
        unit("standard_gravity", "[g] gn g0", "", Acceleration, 980_665, 100_000),
        unit("tesla", "T", "", MagneticField, 1, 1),
        unit("millitesla", "mT", "", MagneticField, 1, 1000),
        unit("microtesla", "uT", "", MagneticField, 1, 1_000_000),
        unit("gauss", "G", "", MagneticField, 1, 10_000),
        unit("sievert_per_hour", "Sv/h", "", Radiation, 1, 1),
        unit("millisievert_per_hour", "mSv/h", "", Radiation, 1, 1000),
        unit("microsievert_per_hour", "uSv/h", "", Radiation, 1, 1_000_000),
        unit("nanosievert_per_hour", "nSv/h", "", Radiation, 1, 1_000_000_000),
        unit("becquerel", "Bq", "", Radioactivity, 1, 1),
        unit("becquerel_per_cubic_metre", "Bq/m3", "", Radon, 1, 1),
        unit("picocurie_per_litre", "pCi/L pCi/l", "", Radon, 37, 1),

        unit("boolean", "", "bool", Truth, 1, 1),
        unit("count", "{count} {#}", "", Count, 1, 1),
    ]
};
