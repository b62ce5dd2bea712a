//! Series of the channels of a device.

use std::collections::{HashMap, HashSet};

use iotpi_core::{Channel, DeviceError, Quantity, Sample, model::reading::SeriesSpec};

/// Makes a series of each quantity. Where a quantity occurs more than once, the name of the channel
/// distinguishes them.
pub(super) fn distinguish(found: Vec<(Quantity, String)>) -> Vec<SeriesSpec> {
    let mut count: HashMap<String, usize> = HashMap::new();
    for (quantity, _) in &found {
        *count.entry(quantity.name_str().to_owned()).or_default() += 1;
    }
    let mut used = HashSet::new();
    found
        .into_iter()
        .map(|(quantity, text)| {
            let is_single = count[quantity.name_str()] == 1;
            let is_new = |name: &String| used.insert((quantity.name_str().to_owned(), name.clone()));
            let name = if is_single { None } else { candidates(channel_name(&text)).find(is_new) };
            let channel = name.and_then(|name| Channel::new(name).ok());
            let mut series = SeriesSpec::new(quantity);
            series.channel = channel;
            series
        })
        .collect()
}

/// Names for a channel: its own, and then the same with a number. An empty one is the channel without a name.
fn candidates(name: String) -> impl Iterator<Item = String> {
    let separator = if name.is_empty() { "" } else { "-" };
    std::iter::once(name.clone()).chain((2..).map(move |n| format!("{name}{separator}{n}")))
}

/// A label of the kernel in the alphabet of channels: `Vcore (CPU)` is `vcore-cpu`.
fn channel_name(label: &str) -> String {
    let mut name = String::new();
    for letter in label.chars().map(|letter| letter.to_ascii_lowercase()) {
        let is_kept = letter.is_ascii_alphanumeric() || letter == '_';
        if is_kept && (!name.is_empty() || letter != '_') {
            name.push(letter);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    // Room for a number that makes it unique.
    name.truncate(56);
    name.trim_end_matches('-').to_owned()
}

/// One sample for each series. If no series has a value, the first error is the error of the read.
pub(super) fn samples(
    results: impl IntoIterator<Item = (SeriesSpec, Result<Sample, DeviceError>)>,
) -> Result<Vec<Sample>, DeviceError> {
    let (mut samples, mut has_value, mut first_error) = (Vec::new(), false, None);
    for (series, result) in results {
        match result {
            Ok(sample) => {
                has_value |= sample.outcome.value().is_some();
                samples.push(sample);
            }
            Err(error) => {
                samples.push(Sample::no_data(series, &error));
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) if !has_value => Err(error),
        _ => Ok(samples),
    }
}

#[cfg(test)]
mod tests {
    use iotpi_core::DeviceErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn channels(found: &[(Quantity, &str)]) -> Vec<Option<String>> {
        let found = found.iter().map(|(quantity, name)| (quantity.clone(), (*name).to_owned())).collect();
        distinguish(found).into_iter().map(|series| series.channel.map(String::from)).collect()
    }

    #[test]
    fn only_a_quantity_that_occurs_twice_has_channels() {
        use Quantity::{Humidity, Temperature, Voltage};

        let names = channels(&[
            (Temperature, ""),
            (Temperature, "Vcore (CPU)"),
            (Temperature, "vcore cpu"),
            (Humidity, "rh"),
            (Voltage, "0-1"),
            (Voltage, "_über 5 V_"),
        ]);

        let expected = [None, Some("vcore-cpu"), Some("vcore-cpu-2"), None, Some("0-1"), Some("ber-5-v_")];
        assert_eq!(names, expected.map(|name| name.map(str::to_owned)));
    }

    #[test]
    fn a_read_without_any_value_is_an_error() {
        let series = |quantity| SeriesSpec::new(quantity);
        let failed = || Err(DeviceError::new(DeviceErrorKind::Bus, "no answer"));
        let measured = |quantity| (series(quantity), Ok(Sample::new(Quantity::Humidity, 40.0)));

        let none = samples([(series(Quantity::Temperature), failed())]).unwrap_err();
        let some =
            samples([(series(Quantity::Temperature), failed()), measured(Quantity::Humidity)]).unwrap();

        assert_eq!(none.kind(), DeviceErrorKind::Bus);
        assert_eq!(some[0].outcome.reason(), Some("bus: no answer"));
        assert_eq!(some[1].outcome.value(), Some(40.0));
    }

    proptest! {
        #[test]
        fn channels_of_any_labels_are_distinct(labels in prop::collection::vec(".{0,80}", 2..8)) {
            let found: Vec<_> = labels.iter().map(|label| (Quantity::Voltage, label.as_str())).collect();

            let names = channels(&found);

            let distinct: HashSet<_> = names.iter().collect();
            prop_assert_eq!(distinct.len(), names.len());
        }
    }
}
