//! The settings of one module, read from its TOML file.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use iotpi_core::{Channel, ModuleId};
use serde::Deserialize;
use serde_json::{Map, Value};

const DEFAULT_HUB: &str = "http://127.0.0.1:8000";
const DEFAULT_EVERY_SECS: f64 = 10.0;

/// The content of a settings file. Unknown fields are an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The module's id at the hub.
    pub id: ModuleId,
    /// The hub, `http://HOST:PORT`. Default `http://127.0.0.1:8000`.
    hub: Option<String>,
    /// The module's token.
    token: Option<String>,
    /// A file that contains the token, and nothing else.
    token_file: Option<PathBuf>,
    /// One sentence for people.
    pub description: Option<String>,
    /// Seconds between heartbeats, 1 to 3,600. Default 10.
    pub heartbeat_secs: Option<f64>,
    /// A folder of this module for readings that the hub has not accepted yet and for the log of hazardous
    /// commands. Default: `outbox` in systemd's `STATE_DIRECTORY`; without one both are in memory.
    outbox: Option<PathBuf>,
    /// The devices, one or more; at most one that takes commands.
    #[serde(rename = "device")]
    pub devices: Vec<DeviceSettings>,
}

/// One device: its driver, its read interval, and the settings of the driver.
#[derive(Debug, Deserialize)]
pub struct DeviceSettings {
    /// The driver's name in the catalog.
    pub driver: String,
    /// Sensors: seconds from one reading to the next, 0.1 to 86,400. Default 10.
    pub every_secs: Option<f64>,
    /// Sensors: the channel of its readings, if the module has several sensors of one type: `supply`.
    pub channel: Option<Channel>,
    /// The driver rejects unknown keys.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Settings {
    /// Reads a settings file.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        // The message of toml shows the line and the position.
        Self::parse(&text).with_context(|| format!("{} is invalid", file.display()))
    }

    /// Parses the text of a settings file.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let settings: Self = toml::from_str(text)?;
        ensure!(!settings.devices.is_empty(), "a module has at least one [[device]]");
        if let Some(secs) = settings.heartbeat_secs {
            ensure!((1.0..=3600.0).contains(&secs), "`heartbeat_secs` is 1 to 3600");
        }
        for secs in settings.devices.iter().filter_map(|device| device.every_secs) {
            ensure!((0.1..=86_400.0).contains(&secs), "`every_secs` is 0.1 to 86400");
        }
        Ok(settings)
    }

    /// The hub's address: the argument, else the file's, else this machine.
    pub fn hub_url(&self, asked: Option<&str>) -> String {
        asked.or(self.hub.as_deref()).unwrap_or(DEFAULT_HUB).to_owned()
    }

    /// The folder of the outbox: the argument, else the file's, else one in the first of systemd's state
    /// folders.
    pub fn outbox(&self, asked: Option<&Path>, state_directory: Option<OsString>) -> Option<PathBuf> {
        let of_systemd = || {
            let folders = state_directory.filter(|folders| !folders.is_empty())?;
            std::env::split_paths(&folders).next().map(|folder| folder.join("outbox"))
        };
        asked.or(self.outbox.as_deref()).map(Path::to_owned).or_else(of_systemd)
    }

    /// The module's token: from the given file, else the environment, else the settings.
    pub fn token(&self, asked: Option<&Path>, environment: Option<String>) -> anyhow::Result<String> {
        let from_file = |file: &Path| {
            fs::read_to_string(file)
                .map(|token| token.trim().to_owned())
                .with_context(|| format!("the token file {} cannot be read", file.display()))
        };
        match (asked, environment, &self.token, &self.token_file) {
            (Some(file), ..) => from_file(file),
            (None, Some(token), ..) => Ok(token),
            (None, None, Some(_), Some(_)) => bail!("`token` or `token_file`, not both"),
            (None, None, Some(token), None) => Ok(token.clone()),
            (None, None, None, Some(file)) => from_file(file),
            (None, None, None, None) => bail!(
                "no token: make one with `iotpi-hub token add --role module --module {}`, and name its file in \
                 `token_file`, or set IOTPI_TOKEN",
                self.id
            ),
        }
    }
}

impl DeviceSettings {
    /// The time from one reading to the next.
    pub fn every(&self) -> std::time::Duration {
        std::time::Duration::from_secs_f64(self.every_secs.unwrap_or(DEFAULT_EVERY_SECS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAMP: &str = "id = \"lamp\"\n[[device]]\ndriver = \"led\"\npin = 17\n";

    #[test]
    fn what_a_driver_wants_to_know_is_kept_for_it() {
        let settings = Settings::parse(LAMP).unwrap();

        assert_eq!(settings.devices[0].driver, "led");
        assert_eq!(Value::from(settings.devices[0].rest.clone()), serde_json::json!({"pin": 17}));
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let error = format!("{:#}", Settings::parse(&format!("hubb = \"x\"\n{LAMP}")).unwrap_err());

        assert!(error.contains("line 1") && error.contains("hubb"), "{error}");
    }

    #[test]
    fn numbers_out_of_range_and_missing_devices_are_refused() {
        for wrong in [
            format!("heartbeat_secs = 0.5\n{LAMP}"),
            format!("{LAMP}every_secs = 0\n"),
            "id = \"lamp\"\ndevice = []".to_owned(),
            LAMP.replace("lamp", "No Id"),
        ] {
            assert!(Settings::parse(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_token_is_asked_for_from_the_command_line_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "from-file\n").unwrap();
        let settings = Settings::parse(&format!("token = \"from-settings\"\n{LAMP}")).unwrap();

        let from =
            |asked, environment: Option<&str>| settings.token(asked, environment.map(str::to_owned)).unwrap();

        assert_eq!(from(Some(&*file), Some("from-environment")), "from-file");
        assert_eq!(from(None, Some("from-environment")), "from-environment");
        assert_eq!(from(None, None), "from-settings");
        let none = Settings::parse(LAMP).unwrap().token(None, None).unwrap_err();
        assert!(none.to_string().contains("token add --role module --module lamp"), "{none}");
    }

    #[test]
    fn readings_wait_in_the_folder_of_the_command_line_then_the_files_then_systemds() {
        let named = Settings::parse(&format!("outbox = \"/named\"\n{LAMP}")).unwrap();
        let unnamed = Settings::parse(LAMP).unwrap();
        let systemd = Some(OsString::from("/var/lib/first:/var/lib/second"));

        let asked = named.outbox(Some(Path::new("/asked")), systemd.clone());

        assert_eq!(asked, Some(PathBuf::from("/asked")));
        assert_eq!(named.outbox(None, systemd.clone()), Some(PathBuf::from("/named")));
        assert_eq!(unnamed.outbox(None, systemd), Some(PathBuf::from("/var/lib/first/outbox")));
        assert_eq!(unnamed.outbox(None, Some(OsString::new())), None);
        assert_eq!(unnamed.outbox(None, None), None);
    }
}
