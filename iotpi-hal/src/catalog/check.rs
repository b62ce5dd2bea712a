//! Checks the settings of a driver without its hardware.

use iotpi_core::{DeviceErrorKind, SystemClock};
use serde_json::{Map, Value};

use super::{CatalogEntry, Device, Failure, Setup};
use crate::bus::Bus;

/// A wrong setting of a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingsFault {
    /// The key of the wrong setting; `None` if one is missing, or if several do not match.
    pub key: Option<String>,
    /// What is wrong, for people.
    pub message: String,
}

impl CatalogEntry {
    /// Checks the settings of a device, without its hardware: it opens the simulated device in place of the real
    /// one, with the same settings. Returns that device; none for a device that the kernel drives.
    ///
    /// # Errors
    /// The faults: all keys with a wrong value, as far as each shows without the others.
    ///
    /// ```
    /// let settings = serde_json::json!({"bus": "linux", "address": 0x12});
    /// let faults = iotpi_hal::catalog::find("bme280").unwrap().check(settings.as_object().unwrap()).unwrap_err();
    /// assert_eq!(faults[0].key.as_deref(), Some("address"));
    /// assert_eq!(faults[0].message, "the chip has address 0x76 or 0x77, not 0x12");
    /// ```
    pub fn check(&self, settings: &Map<String, Value>) -> Result<Option<Device>, Vec<SettingsFault>> {
        let mut settings = settings.clone();
        let mut faults: Vec<_> = self.simulate(&mut settings).err().into_iter().collect();
        let mut removed = Vec::new();
        loop {
            let message = match self.fault(&settings) {
                Ok(device) if faults.is_empty() => return Ok(device),
                Ok(_) => return Err(faults),
                Err(message) => message,
            };
            // The setting without which the fault is another one, or none.
            let changes = |key: &&String| {
                let mut others = settings.clone();
                others.remove(*key);
                self.fault(&others).err().as_ref() != Some(&message)
            };
            let key = settings.keys().find(changes).cloned();
            // The settings that were wrong are missing now: that is no fault of the file.
            if key.is_some() || removed.is_empty() {
                faults.push(SettingsFault { key: key.clone(), message });
            }
            let Some(key) = key else { return Err(faults) };
            settings.remove(&key);
            removed.push(key);
        }
    }

    /// Changes the bus to the simulated one.
    fn simulate(&self, settings: &mut Map<String, Value>) -> Result<(), SettingsFault> {
        let keys = self.keys();
        if !keys.contains(&"bus") {
            return Ok(());
        }
        let asked = settings.insert("bus".to_owned(), self.stand_in(keys).into());
        match asked {
            Some(asked) => self.check_bus(asked),
            None => Ok(()),
        }
        .map_err(|message| SettingsFault { key: Some("bus".to_owned()), message })
    }

    /// The bus that opens a device without hardware. The simulated kernel has other devices than this machine:
    /// a bus that those do not have ends the opening after the settings are read.
    fn stand_in(&self, keys: &[&str]) -> &'static str {
        if keys.contains(&"root") { Bus::Pi } else { Bus::Sim }.as_str()
    }

    fn check_bus(&self, bus: Value) -> Result<(), String> {
        let bus: Bus = serde_json::from_value(bus).map_err(|error| error.to_string())?;
        if !self.buses.contains(&bus) {
            let buses: Vec<_> = self.buses.iter().map(|bus| bus.as_str()).collect();
            return Err(format!(
                "driver `{}` has no bus `{}`: it has {}",
                self.name,
                bus.as_str(),
                buses.join(", ")
            ));
        }
        match super::not_built(bus) {
            Failure::NotBuilt(error) if !bus.is_built() => Err(text(&error)),
            _ => Ok(()),
        }
    }

    /// Opens the stand-in; the error is the text of a fault in the settings.
    fn fault(&self, settings: &Map<String, Value>) -> Result<Option<Device>, String> {
        let setup = Setup::new(SystemClock::shared());
        match (self.open)(settings.clone().into(), &setup) {
            Ok(device) => Ok(Some(device)),
            Err(Failure::Settings { source, .. }) => Err(source.to_string()),
            Err(Failure::Device(error)) if error.kind() == DeviceErrorKind::Refused => Err(text(&error)),
            // Not a fault of the settings: a missing file, a device that is not there.
            Err(Failure::Device(_) | Failure::NotBuilt(_)) => Ok(None),
        }
    }
}

/// The text of a refusal, without the word for its kind.
fn text(error: &iotpi_core::DeviceError) -> String {
    let text = error.to_string();
    text.strip_prefix("refused: ").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog;

    fn faults(driver: &str, settings: &Value) -> Vec<(Option<String>, String)> {
        let checked = catalog::find(driver).unwrap().check(settings.as_object().unwrap());
        let faults = checked.err().unwrap_or_default();
        faults.into_iter().map(|fault| (fault.key, fault.message)).collect()
    }

    #[tokio::test]
    async fn every_wrong_setting_is_found_with_its_key() {
        let settings = json!({"bus": "linux", "pin": "LED", "pull": "sideways", "debounce_ms": 20_000});

        let found = faults("button", &settings);

        let mut keys: Vec<_> = found.iter().filter_map(|(key, _)| key.as_deref()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["pin", "pull"], "{found:?}");
    }

    #[tokio::test]
    async fn a_missing_setting_has_no_key_and_is_reported_once() {
        assert_eq!(faults("led", &json!({"bus": "sim"})), [(None, "missing field `pin`".to_owned())]);
        assert_eq!(faults("button", &json!({"pin": -1})).len(), 1);
    }

    #[tokio::test]
    async fn a_bus_that_the_device_does_not_have_is_a_fault() {
        let found = faults("ds18b20", &json!({"bus": "pi"}));

        assert_eq!(found[0].0.as_deref(), Some("bus"));
        assert!(found[0].1.contains("it has sim, linux"), "{found:?}");
        assert!(faults("ds18b20", &json!({"bus": "spi"}))[0].1.contains("unknown variant"));
    }

    #[tokio::test]
    async fn right_settings_open_the_simulated_device_or_none_of_the_kernels() {
        let open = |driver, settings: Value| {
            catalog::find(driver).unwrap().check(settings.as_object().unwrap()).unwrap()
        };

        assert!(matches!(open("bme280", json!({"address": 0x77})), Some(Device::Sensor(_))));
        assert!(open("iio", json!({"name": "a-chip-of-this-machine", "channels": ["temp"]})).is_none());
        assert!(faults("w1", &json!({"ids": ["../etc"]}))[0].1.contains("28-"));
    }

    #[tokio::test]
    async fn the_settings_of_every_example_are_right() {
        for entry in catalog::entries() {
            let settings: Map<String, Value> = toml::from_str(entry.example).unwrap();
            // The path of its example is not there.
            let faults = entry.check(&settings).err().unwrap_or_default();
            assert!(faults.is_empty(), "{}: {faults:?}", entry.name);
        }
    }
}
