//! Names of channels of the IIO ABI, and the units of their values.

use iotpi_core::Quantity;

use crate::kernel::{quantities::quantity, sysfs::digits};

/// A type of channel: its name in the ABI, the quantity, the canonical unit, and the factor from the unit of
/// the ABI to it (Documentation/ABI/testing/sysfs-bus-iio, "Units after application of scale and offset").
struct ChannelType(&'static str, &'static str, &'static str, f64);

const TYPES: &[ChannelType] = &[
    ChannelType("accel", "acceleration", "m/s2", 1.0),
    ChannelType("angl", "angle", "rad", 1.0),
    ChannelType("anglvel", "angular-velocity", "rad/s", 1.0),
    ChannelType("capacitance", "capacitance", "nF", 1.0),
    // Per cent.
    ChannelType("concentration", "concentration", "ppm", 1e4),
    ChannelType("count", "count", "count", 1.0),
    ChannelType("current", "current", "ampere", 1e-3),
    ChannelType("distance", "distance", "metre", 1.0),
    ChannelType("electricalconductivity", "conductivity", "S/m", 1.0),
    ChannelType("energy", "energy", "joule", 1.0),
    ChannelType("gravity", "gravity", "m/s2", 1.0),
    ChannelType("humidityrelative", "humidity", "percent", 1e-3),
    ChannelType("illuminance", "illuminance", "lux", 1.0),
    ChannelType("incli", "inclination", "degree", 1.0),
    // Documented as without a unit, also after scaling.
    ChannelType("intensity", "intensity", "none", 1.0),
    ChannelType("magn", "magnetic-field", "gauss", 1.0),
    ChannelType("massconcentration", "particulates", "ug/m3", 1.0),
    ChannelType("ph", "ph", "none", 1.0),
    ChannelType("power", "power", "watt", 1e-3),
    // Kilopascal.
    ChannelType("pressure", "pressure", "pascal", 1e3),
    ChannelType("proximity", "proximity", "none", 1.0),
    ChannelType("resistance", "resistance", "ohm", 1.0),
    ChannelType("steps", "steps", "count", 1.0),
    ChannelType("temp", "temperature", "celsius", 1e-3),
    ChannelType("uvindex", "uv-index", "none", 1.0),
    ChannelType("velocity", "velocity", "m/s", 1.0),
    ChannelType("voltage", "voltage", "volt", 1e-3),
];

/// Chips whose kernel driver deviates from the ABI: the name, the beginning of the names of the channels, and
/// the factor from the processed value to the unit of the ABI.
const CORRECTIONS: &[(&str, &str, f64)] = &[
    // drivers/iio/chemical/sgp30.c, sgp_read_raw: a fraction, not per cent.
    ("sgp30", "concentration", 100.0),
    ("sgpc3", "concentration", 100.0),
    // drivers/iio/chemical/bme680_core.c, bme680_read_raw: per cent, not thousandths of it.
    ("bme680", "humidityrelative", 1000.0),
];

/// The factor from the processed value of a channel to the unit of the ABI: 1 for nearly all chips.
pub(super) fn unit_correction(chip: &str, channel: &str) -> f64 {
    let row = CORRECTIONS.iter().find(|(name, prefix, _)| *name == chip && channel.starts_with(prefix));
    row.map_or(1.0, |(_, _, factor)| *factor)
}

/// Modifiers that select a statistic of a channel, not a channel.
const STATISTICS: [&str; 3] = ["mean", "peak", "trough"];

/// An input channel of a device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct IioChannel {
    /// The name in the ABI without `in_` and the attribute: `voltage0-voltage1`, `accel_x`, `temp`.
    pub name: String,
    pub quantity: Quantity,
    /// From the unit of the ABI to that of the quantity.
    pub factor: f64,
    /// The part of the name that distinguishes it from channels of the same type: `0-1`, `x`.
    pub suffix: String,
    /// The names that its scale and offset may have, the most specific first.
    shared: Vec<String>,
}

impl IioChannel {
    /// The channel with this name; `None` if the ABI has no quantity for it, as for quaternions and time
    /// stamps.
    pub fn parse(name: &str) -> Option<Self> {
        let (indexed, modifier) = name.split_once('_').unwrap_or((name, ""));
        let statistic = modifier.rsplit('_').next().unwrap_or_default();
        if STATISTICS.contains(&statistic) || modifier == "quadrature_correction" {
            return None;
        }
        let (first, second) = match indexed.split_once('-') {
            Some((first, second)) => (first, Some(second)),
            None => (indexed, None),
        };
        let (kind, index) = split_index(first)?;
        let mut suffix = index.to_owned();
        let mut shared = vec![name.to_owned()];
        if let Some(second) = second {
            let (other, second_index) = split_index(second)?;
            if other != kind {
                return None;
            }
            suffix = format!("{index}-{second_index}");
            shared.push(format!("{kind}-{kind}"));
        }
        if !modifier.is_empty() {
            shared.extend([indexed.to_owned(), format!("{kind}_{modifier}")]);
        }
        shared.push(kind.to_owned());
        shared.dedup();
        let ChannelType(_, quantity_name, unit, factor) = TYPES.iter().find(|row| row.0 == kind)?;
        let quantity_name = if kind.ends_with("concentration") && !modifier.is_empty() {
            // The modifier is the substance: `co2`, `voc`, `pm2p5`.
            modifier.replace("2p5", "2-5")
        } else {
            suffix = join(&suffix, modifier);
            (*quantity_name).to_owned()
        };
        Some(Self {
            name: name.to_owned(),
            quantity: quantity(&quantity_name, unit)?,
            factor: *factor,
            suffix,
            shared,
        })
    }

    /// The files in which the scale or offset of the channel may be, the most specific first.
    pub fn shared_files(&self, attribute: &str) -> impl Iterator<Item = String> {
        let own = self.shared.iter().map(move |name| format!("in_{name}_{attribute}"));
        own.chain([format!("in_{attribute}"), attribute.to_owned()]).collect::<Vec<_>>().into_iter()
    }
}

fn join(index: &str, modifier: &str) -> String {
    let separator = if index.is_empty() || modifier.is_empty() { "" } else { "-" };
    format!("{index}{separator}{modifier}")
}

/// The type and the index: `voltage` and `0`.
fn split_index(text: &str) -> Option<(&str, &str)> {
    let kind = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let index = &text[kind.len()..];
    (!kind.is_empty() && digits(index) == index).then_some((kind, index))
}

/// The name of the channel that an attribute has the value of: of `in_temp_raw` or `in_temp_input`.
pub(super) fn channel_of(attribute: &str) -> Option<&str> {
    let name = attribute.strip_prefix("in_")?;
    name.strip_suffix("_input").or_else(|| name.strip_suffix("_raw"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> Option<(String, String, f64, String)> {
        let channel = IioChannel::parse(name)?;
        let (quantity, unit) = (channel.quantity.name_str(), channel.quantity.unit());
        Some((quantity.to_owned(), unit.to_string(), channel.factor, channel.suffix))
    }

    #[test]
    fn a_name_gives_the_quantity_and_the_unit() {
        for (name, quantity, unit, factor, suffix) in [
            ("temp", "temperature", "celsius", 1e-3, ""),
            ("temp_ambient", "temperature", "celsius", 1e-3, "ambient"),
            ("pressure0", "pressure", "pascal", 1e3, "0"),
            ("voltage0-voltage1", "voltage", "volt", 1e-3, "0-1"),
            ("voltage3_supply", "voltage", "volt", 1e-3, "3-supply"),
            ("concentration_co2", "co2", "ppm", 1e4, ""),
            ("concentration_voc", "voc", "ppm", 1e4, ""),
            ("concentration", "concentration", "ppm", 1e4, ""),
            ("massconcentration_pm2p5", "pm2-5", "microgram_per_cubic_metre", 1.0, ""),
            ("massconcentration_pm10", "pm10", "microgram_per_cubic_metre", 1.0, ""),
            ("accel_x", "acceleration", "metre_per_second_squared", 1.0, "x"),
            ("intensity_both", "intensity", "none", 1.0, "both"),
            ("magn_z", "magnetic-field", "gauss", 1.0, "z"),
        ] {
            let expected = (quantity.to_owned(), unit.to_owned(), factor, suffix.to_owned());
            assert_eq!(parsed(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_name_without_one_number_in_a_unit_is_no_channel() {
        for name in [
            "rot_quaternion",
            "timestamp",
            "temp_peak",
            "accel_xyz_squared_peak",
            "voltage0_mean",
            "",
            "_x",
            "0",
            "voltage0-current0",
            "voltage-",
            "temp_trough",
            "altvoltage0",
            "concentration_x^2",
        ] {
            assert_eq!(parsed(name), None, "{name}");
        }
    }

    #[test]
    fn the_most_specific_scale_comes_first() {
        let files = |name: &str| IioChannel::parse(name).unwrap().shared_files("scale").collect::<Vec<_>>();

        let of_difference = ["in_voltage0-voltage1_scale", "in_voltage-voltage_scale", "in_voltage_scale"];
        assert_eq!(files("voltage0-voltage1")[..3], of_difference);
        assert_eq!(
            files("voltage1_i")[..4],
            ["in_voltage1_i_scale", "in_voltage1_scale", "in_voltage_i_scale", "in_voltage_scale",]
        );
        assert_eq!(files("temp"), ["in_temp_scale", "in_scale", "scale"]);
    }
}
