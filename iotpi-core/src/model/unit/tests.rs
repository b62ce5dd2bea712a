//! Spellings and conversions of units.

use proptest::prelude::*;

use super::*;

fn unit(text: &str) -> Unit {
    Unit::parse(text).unwrap()
}

#[test]
fn conversions_with_an_exact_decimal_result_are_exact() {
    for (to, value, from, expected) in [
        ("celsius", 32.0, "F", 0.0),
        ("celsius", 212.0, "fahrenheit", 100.0),
        ("celsius", 70.7, "°F", 21.5),
        ("celsius", 0.0, "K", -273.15),
        ("celsius", 293.15, "K", 20.0),
        ("fahrenheit", -40.0, "Cel", -40.0),
        ("fahrenheit", 21.1, "°C", 69.98),
        ("volt", 3300.0, "mV", 3.3),
        ("millivolt", 3.3, "V", 3300.0),
        ("ampere", 0.7, "mA", 0.0007),
        ("pascal", 1013.25, "hPa", 101_325.0),
        ("pascal", 1013.25, "mbar", 101_325.0),
        ("pascal", 101.325, "kPa", 101_325.0),
        ("pascal", 1.0, "atm", 101_325.0),
        ("pascal", 29.92, "inHg", 101_320.748_119_002_72),
        ("pascal", 760.0, "mmHg", 101_325.014_435_4),
        ("pascal", 14.7, "psi", 101_352.932_209_574_91),
        ("percent", 0.07, "1", 7.0),
        ("percent", 0.57, "ratio", 57.0),
        ("ppm", 415_300.0, "ppb", 415.3),
        ("metre", 12.0, "inch", 0.3048),
        ("metre", 3.0, "ft", 0.9144),
        ("metre", 1.1, "mile", 1770.2784),
        ("metre", 29.0, "cm", 0.29),
        ("metre_per_second", 90.0, "km/h", 25.0),
        ("metre_per_second", 10.0, "mph", 4.4704),
        ("kilometre_per_hour", 10.0, "kn", 18.52),
        ("litre", 1.0, "gal", 3.785_411_784),
        ("cubic_metre", 1.0, "L", 0.001),
        ("kilogram", 16.0, "oz", 0.453_592_37),
        ("gram", 1.0, "lb", 453.592_37),
        ("joule", 1.1, "kWh", 3_960_000.0),
        ("kilowatt_hour", 1234.5, "Wh", 1.2345),
        ("ohm", 4.7, "kΩ", 4700.0),
        ("hours", 90.0, "min", 1.5),
        ("kilobytes", 8.0, "bit", 0.001),
    ] {
        assert_eq!(unit(to).of(value, &unit(from)), Some(expected), "{value} {from} in {to}");
    }
}

#[test]
fn a_result_without_an_exact_decimal_is_the_nearest_double() {
    assert_eq!(Unit::CELSIUS.of(70.0, &unit("F")), Some(190.0 / 9.0));
    assert_eq!(unit("degree").of(std::f64::consts::PI, &unit("rad")), Some(180.0));
    assert_eq!(unit("mile").of(1.0, &unit("kilometre")), Some(1.0 / 1.609_344));
}

#[test]
fn very_large_and_very_small_values_convert_without_overflow() {
    assert_eq!(unit("volt").of(1e300, &unit("mV")), Some(1e297));
    assert_eq!(unit("volt").of(5e-324, &unit("kV")), Some(5e-321));
    assert_eq!(Unit::CELSIUS.of(1e300, &unit("K")), Some(1e300));
    assert_eq!(Unit::CELSIUS.of(1e-300, &unit("K")), Some(-273.15));
    assert!(Unit::PASCAL.of(1e308, &unit("kPa")).is_some_and(f64::is_infinite));
}

#[test]
fn units_of_different_dimensions_do_not_convert() {
    let of = |to: &str, value, from: &str| unit(to).of(value, &unit(from));

    assert_eq!(of("celsius", 1.0, "pascal"), None);
    assert_eq!(of("celsius", 1.0, "boolean"), None);
    assert_eq!(of("bunches", 1.0, "bananas"), None);
    assert_eq!(of("bunches", 3.0, "bunches"), Some(3.0));
    assert_eq!((of("count", 1.0, "boolean"), of("1", 0.0, "bool")), (Some(1.0), Some(0.0)));
}

#[test]
fn a_known_unit_is_found_in_any_case_and_spelling() {
    for (word, spellings) in [
        (
            "celsius",
            &[
                "Celsius",
                "CELSIUS",
                "°C",
                "ºC",
                "˚C",
                "° C",
                "℃",
                "°c",
                "degC",
                "deg C",
                "degrees Celsius",
                "Degree_Celsius",
                "C",
                "Cel",
                " celsius ",
            ][..],
        ),
        ("fahrenheit", &["Fahrenheit", "°F", "℉", "F", "degF", "[degF]", "degrees-fahrenheit"]),
        ("kelvin", &["K", "\u{212A}", "Kelvin", "kelvins"]),
        ("percent", &["%", "Percent", "％", "%RH", "%rh", "pct", "per cent", "percentage"]),
        ("hectopascal", &["hPa", "hpa", "HPA", "mbar", "mBar", "MBAR", "mb", "millibars", "hecto-pascal"]),
        ("pascal", &["Pa", "PA", "Pascals"]),
        ("inch_of_mercury", &["inHg", "inhg", "inches of mercury", "in[Hg]"]),
        ("millimetre_of_mercury", &["mmHg", "mmhg", "mm Hg", "MMHG"]),
        (
            "microgram_per_cubic_metre",
            &[
                "µg/m³",
                "μg/m³",
                "ug/m3",
                "ug/m^3",
                "µg / m³",
                "µg·m⁻³",
                "㎍/㎥",
                "ug per m3",
                "UG/M3",
                "micrograms per cubic meter",
            ],
        ),
        ("cubic_metre", &["m³", "m3", "m^3", "㎥", "Cubic Meters", "cbm"]),
        ("square_metre", &["m²", "m2", "m^2", "sqm"]),
        ("cubic_centimetre", &["cm³", "cm3", "ccm", "cubic centimetres"]),
        ("ohm", &["Ω", "\u{2126}", "Ohm", "OHM", "ohms"]),
        ("kiloohm", &["kΩ", "k\u{2126}", "kOhm", "kohm", "KOHM", "kilohms"]),
        ("megaohm", &["MΩ", "MOhm", "Mohm", "megohm"]),
        ("milliohm", &["mΩ", "mOhm"]),
        ("microsiemens_per_centimetre", &["µS/cm", "uS/cm", "us/cm", "μS/cm"]),
        ("microsievert_per_hour", &["µSv/h", "uSv/h", "usv/h"]),
        ("milliampere", &["mA", "ma", "milliamps"]),
        ("millivolt", &["mV", "mv", "Millivolts"]),
        ("megavolt", &["MV"]),
        ("megahertz", &["MHz", "mhz", "MHZ"]),
        ("kilowatt_hour", &["kWh", "KWH", "kwh", "kilowatt hours", "kilowatt-hour", "kW h"]),
        ("kilometre_per_hour", &["km/h", "KM/H", "kmh", "kph", "kilometers per hour", "km/ h"]),
        ("mile_per_hour", &["mph", "MPH", "mi/h", "miles per hour"]),
        ("metre_per_second", &["m/s", "mps", "m·s⁻¹", "m.s-1", "Meters per second", "metres/second"]),
        ("metre_per_second_squared", &["m/s²", "m/s2", "m·s⁻²", "m/s^2"]),
        ("knot", &["kn", "kt", "knots", "kts"]),
        ("inch", &["in", "inches", "\"", "Inch"]),
        ("foot", &["ft", "feet", "'", "Foot"]),
        ("litre", &["L", "l", "liter", "Litres"]),
        ("gallon", &["gal", "gallons", "[gal_us]"]),
        ("pound", &["lb", "lbs", "pounds"]),
        ("ounce", &["oz", "ounces"]),
        ("lux", &["lx", "Lux", "LUX"]),
        ("ppm", &["PPM", "Ppm", "[ppm]", "parts per million"]),
        ("boolean", &["bool", "Boolean", "BOOL"]),
        ("none", &["1", "None", "unitless", "dimensionless", "no unit"]),
        ("seconds", &["s", "sec", "Second", "SECONDS"]),
        ("degree", &["°", "deg", "Degrees"]),
    ] {
        for spelling in spellings {
            assert_eq!(unit(spelling).as_str(), word, "{spelling}");
        }
    }
}

#[test]
fn letter_case_is_kept_where_it_distinguishes_two_units() {
    for (one, other) in
        [("mV", "MV"), ("mW", "MW"), ("mΩ", "MΩ"), ("mWh", "MWh"), ("g", "G"), ("mg", "Mg"), ("s", "S")]
    {
        assert_ne!(unit(one), unit(other), "{one} {other}");
    }
}

#[test]
fn an_unknown_unit_is_kept_with_normalized_signs() {
    for (text, kept) in [
        ("bunches", "bunches"),
        ("µmol/m²/s", "umol/m2/s"),
        ("μmol·m⁻²·s⁻¹", "umol/m2/s"),
        ("cups per hour", "cups_per_hour"),
        ("€/kWh", "€/kWh"),
        ("pH", "pH"),
    ] {
        assert_eq!(unit(text).as_str(), kept);
        assert_eq!(unit(kept).as_str(), kept);
    }
}

#[test]
fn nonsense_is_refused() {
    for text in ["", "  ", "new\nline", "nul\0", &"x".repeat(33), &"µ".repeat(300)] {
        assert_eq!(Unit::parse(text), Err(InvalidUnit), "{text:?}");
    }
}

fn any_known() -> impl Strategy<Value = &'static Known> {
    prop::sample::select(KNOWN.iter().collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn an_exact_decimal_conversion_can_be_reversed(
        thousandths in -10_000_000_i32..10_000_000, (from, to) in (any_known(), any_known())
    ) {
        let (from, to) = (unit(from.word), unit(to.word));
        let value = f64::from(thousandths) / 1000.0;
        let Some(there) = to.of(value, &from) else { return Ok(()) };

        let back = from.of(there, &to).unwrap();

        // An infinite decimal is rounded once, and an offset of 459.67 may lose digits.
        prop_assert!((back - value).abs() <= 1e-12 * (value.abs() + 1000.0), "{value} {from} {there} {to} {back}");
    }

    #[test]
    fn metric_prefixes_lose_no_digit(thousandths in -10_000_000_i32..10_000_000, pair in prop::sample::select(vec![
        ("mV", "V"), ("kPa", "hPa"), ("mA", "A"), ("mm", "m"), ("kWh", "Wh"), ("kΩ", "ohm"), ("percent", "ratio"), ("ppb", "ppm"),
        ("L", "m3"), ("g", "kg"), ("ug/m3", "mg/m3"), ("°C", "K"), ("°C", "°F"),
    ])) {
        let (from, to) = (unit(pair.0), unit(pair.1));
        let value = f64::from(thousandths) / 1000.0;

        let there = to.of(value, &from).unwrap();

        prop_assert_eq!(from.of(there, &to), Some(value));
        prop_assert!(format!("{there}").trim_start_matches(['-', '0', '.']).len() <= 13, "{} {} is {} {}", value, from, there, to);
    }

    #[test]
    fn normalizing_a_unit_twice_changes_nothing(text in "\\PC{0,40}") {
        if let Ok(unit) = Unit::parse(&text) {
            prop_assert_eq!(Unit::parse(unit.as_str()), Ok(unit));
        }
    }

    #[test]
    fn a_conversion_returns_the_nearest_double(thousandths in -1_000_000_i32..1_000_000, (from, to) in (any_known(), any_known())) {
        let (Some(from_unit), Some(to_unit)) = (unit(from.word).known(), unit(to.word).known()) else { return Ok(()) };
        if from_unit.dimension != to_unit.dimension {
            return Ok(());
        }
        let value = f64::from(thousandths) / 1000.0;

        let exact = exact::convert(value, from_unit, to_unit);

        let scale = value.abs() + 1000.0;
        prop_assert!((exact - exact::by_doubles(value, from_unit, to_unit)).abs() <= 1e-9 * scale * to_scale(from_unit, to_unit));
    }
}

fn to_scale(from: &Known, to: &Known) -> f64 {
    (exact::by_doubles(1.0, from, to) - exact::by_doubles(0.0, from, to)).abs().max(1e-3)
}
