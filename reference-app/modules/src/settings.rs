//! The settings of one module, read from its TOML file.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use iotpi_core::{Channel, ModuleId, Sensor, SensorModule};
use iotpi_hal::catalog::{self, CatalogEntry, Connection};
use serde_json::{Map, Value};
use toml::de::DeTable;

mod conflicts;
mod devices;
mod faults;
mod fields;
mod processing;

pub use self::devices::is_new_series;
use self::{
    faults::{Faults, line_of, suggestion},
    fields::Fields,
    processing::{Processing, WrongQuantity},
};

const DEFAULT_HUB: &str = "http://127.0.0.1:8000";
const DEFAULT_EVERY_SECS: f64 = 10.0;

/// The content of a settings file. Unknown fields are an error.
#[derive(Debug)]
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
    pub devices: Vec<DeviceSettings>,
    /// The text of the file.
    text: String,
}

/// One device: its driver, its read interval, and the settings of the driver.
#[derive(Debug)]
pub struct DeviceSettings {
    /// The driver's name in the catalog.
    pub driver: String,
    /// Sensors: seconds from one reading to the next, 0.1 to 86,400. Default 10.
    pub every_secs: Option<f64>,
    /// Sensors: the channel of its readings, if the module has several sensors of one type: `supply`.
    pub channel: Option<Channel>,
    /// Sensors: calibration, smoothing, report on change.
    pub processing: Processing,
    /// The settings of the driver.
    pub rest: Map<String, Value>,
    /// The line of `[[device]]`.
    line: usize,
    /// The line of each key.
    lines: BTreeMap<String, usize>,
}

impl Settings {
    /// Reads a settings file.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        // All faults in one message: with several, the next run shall not find another one.
        Self::parse(&text).map_err(|faults| anyhow!("{} is invalid:\n{faults}", file.display()))
    }

    /// Parses and checks the text of a settings file, without opening a device.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let line = error.span().map_or(1, |span| line_of(text, &span));
            faults.push(line, error.message());
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let settings = read_module(Fields::new(text, 1, table.into_inner()), &mut faults);
        match settings {
            Some(settings) if faults.is_empty() => Ok(Self { text: text.to_owned(), ..settings }),
            _ => Err(faults),
        }
    }

    /// The text that the settings were read from.
    pub fn text(&self) -> &str {
        &self.text
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

fn read_module(mut fields: Fields<'_>, faults: &mut Faults) -> Option<Settings> {
    let tables = fields.tables("device", faults);
    if tables.is_empty() && faults.is_empty() {
        faults.push(fields.line_of("device"), "a module has at least one [[device]]");
    }
    let id = fields.required("id", faults);
    let hub = fields.optional("hub", faults);
    let token = fields.optional("token", faults);
    let token_file = fields.optional("token_file", faults);
    let description = fields.optional("description", faults);
    let heartbeat_secs = fields.number("heartbeat_secs", 1.0, 3600.0, faults);
    let outbox = fields.optional("outbox", faults);
    fields.refuse_unknown(&[], "a module", faults);
    let devices: Vec<_> = tables.into_iter().filter_map(|fields| read_device(fields, faults)).collect();
    devices::check(&devices, faults);
    conflicts::check(&devices, faults);
    Some(Settings {
        id: id?,
        hub,
        token,
        token_file,
        description,
        heartbeat_secs,
        outbox,
        devices,
        text: String::new(),
    })
}

fn read_device(mut fields: Fields<'_>, faults: &mut Faults) -> Option<DeviceSettings> {
    let driver: Option<String> = fields.required("driver", faults);
    let every_secs = fields.number("every_secs", 0.1, 86_400.0, faults);
    let processing = Processing::read(&mut fields, faults);
    let driver = driver?;
    let Some(entry) = catalog::find(&driver) else {
        let names = catalog::entries().map(|entry| entry.name);
        let suggestion = suggestion(&driver, names);
        let text =
            format!("there is no driver `{driver}`{suggestion}: `iotpi-module list` shows the drivers");
        faults.push(fields.line_of("driver"), text);
        return None;
    };
    // An output has a channel of its own: that of a PWM controller.
    let is_of_driver = entry.keys().contains(&"channel");
    let channel = if is_of_driver { None } else { fields.optional("channel", faults) };
    fields.refuse_unknown(entry.keys(), format_args!("driver `{driver}`"), faults);
    let mut rest = fields.rest(faults);
    rest.retain(|key, _| entry.keys().contains(&key.as_str()));
    let (line, lines) = (fields.line, fields.lines());
    Some(DeviceSettings { driver, every_secs, channel, processing, rest, line, lines })
}

impl DeviceSettings {
    /// The line of a key, or else that of the device.
    fn line_of(&self, key: &str) -> usize {
        self.lines.get(key).copied().unwrap_or(self.line)
    }

    /// A sensor as the settings want it: calibrated, smoothed, on its channel, reporting changes.
    ///
    /// # Errors
    /// The settings of quantities that it does not measure, each with its line.
    pub fn module(
        &self,
        sensor: Box<dyn Sensor>,
    ) -> Result<SensorModule<Box<dyn Sensor>>, Vec<WrongQuantity>> {
        let sensor = self.processing.apply(sensor)?;
        let changes = self.processing.report_on_change(&sensor.quantities())?;
        let sensor = match self.channel.clone() {
            Some(channel) => Box::new(sensor.on_channel(channel)),
            None => sensor,
        };
        let module = SensorModule::new(sensor, self.every());
        Ok(match changes {
            Some(changes) => module.reporting(changes),
            None => module,
        })
    }

    /// The entry of its driver.
    fn entry(&self) -> Option<&'static CatalogEntry> {
        catalog::find(&self.driver)
    }

    /// The buses and pins of the device.
    pub fn connections(&self) -> Vec<Connection> {
        self.entry().map(|entry| entry.connections(&self.rest)).unwrap_or_default()
    }

    /// The time from one reading to the next.
    pub fn every(&self) -> std::time::Duration {
        std::time::Duration::from_secs_f64(self.every_secs.unwrap_or(DEFAULT_EVERY_SECS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAMP: &str = "id = \"lamp\"\n[[device]]\ndriver = \"led\"\npin = 17\n";

    fn faults(text: &str) -> String {
        Settings::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_a_driver_wants_to_know_is_kept_for_it() {
        let settings = Settings::parse(LAMP).unwrap();

        assert_eq!(settings.devices[0].driver, "led");
        assert_eq!(Value::from(settings.devices[0].rest.clone()), serde_json::json!({"pin": 17}));
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        assert_eq!(
            faults(&format!("hubb = \"x\"\n{LAMP}")),
            "line 1: `hubb` is no setting of a module (did you mean `hub`?)"
        );
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
    fn all_faults_of_a_file_are_reported_each_with_its_line() {
        let text = "id = \"No Id\"\nheartbeat_secs = 0\n[[device]]\ndriver = \"bme280\"\nevery_sec = 5\n\
                    address = 0x12\n[[device]]\ndriver = \"bme820\"\n[[device]]\ndriver = \"led\"\npin = \"LED\"\n";

        let faults = faults(text);

        let lines: Vec<_> = faults.lines().collect();
        let expected = [
            "line 1: `id`: ",
            "line 2: `heartbeat_secs` is 1 to 3600, not 0",
            "line 5: `every_sec` is no setting of driver `bme280` (did you mean `every_secs`?)",
            "line 6: `address`: the chip has address 0x76 or 0x77, not 0x12",
            "line 8: there is no driver `bme820` (did you mean `bme280`?)",
            "line 11: `pin`: `LED` is no pin",
        ];
        assert_eq!(lines.len(), expected.len(), "{faults}");
        for (line, expected) in lines.into_iter().zip(expected) {
            assert!(line.starts_with(expected), "{line}");
        }
    }

    #[test]
    fn a_syntax_error_is_reported_with_its_line() {
        assert!(faults("id = \"a\"\nhub = \n").starts_with("line 2: "));
        assert!(faults("id = \"a\"\nid = \"b\"\n").starts_with("line 2: duplicate key"));
        assert!(faults("id = \"a\"\n[device]\ndriver = \"led\"\n").starts_with("line 2: `device` is a list"));
    }

    #[test]
    fn what_is_missing_is_reported_with_the_line_of_its_table() {
        assert_eq!(
            faults("[[device]]\nbus = \"sim\"\n"),
            "line 1: `id` is missing\nline 1: `driver` is missing"
        );
        let text = "id = \"a\"\n[[device]]\ndriver = \"led\"\n";
        assert_eq!(faults(text), "line 2: missing field `pin`");
        assert_eq!(faults("id = \"a\"\n"), "line 1: a module has at least one [[device]]");
    }

    #[test]
    fn pins_and_addresses_belong_to_one_device() {
        let device =
            |driver: &str, settings: &str| format!("[[device]]\ndriver = \"{driver}\"\n{settings}\n");
        let file = |devices: [String; 2]| format!("id = \"a\"\n{}", devices.concat());

        for (devices, fault) in [
            (
                [device("motion", "pin = 17"), device("led", "pin = \"BOARD11\"")],
                "line 7: GPIO17 is the pin of `motion` in line 2, too",
            ),
            (
                [device("bme280", "address = 0x76"), device("bmp280", "address = 0x76\nchannel = \"out\"")],
                "line 7: 0x76 on /dev/i2c-1 is the address of `bme280` in line 2, too",
            ),
            (
                [device("bme280", "every_secs = 5"), device("led", "pin = 2")],
                "line 7: GPIO2 cannot be used: a device of this file uses it for I2C",
            ),
            (
                [device("ds18b20", "every_secs = 5"), device("led", "pin = 4")],
                "line 7: GPIO4 cannot be used: a device of this file uses it for 1-Wire",
            ),
            (
                [device("system", "every_secs = 5"), device("led", "pin = 1")],
                "line 7: GPIO1 cannot be used: it is reserved for the EEPROM of an add-on board",
            ),
            (
                [device("system", "every_secs = 5"), device("led", "pin = 40")],
                "line 7: `pin`: there is no pin 40: the header has GPIO0 to GPIO27",
            ),
        ] {
            assert_eq!(faults(&file(devices)), fault);
        }
        let on_two_buses = "channel = \"out\"\ni2c = \"/dev/i2c-3\"";
        Settings::parse(&file([device("bme280", "every_secs = 5"), device("bme280", on_two_buses)])).unwrap();
        Settings::parse(&file([device("system", "every_secs = 5"), device("led", "pin = 2")])).unwrap();
    }

    #[test]
    fn a_device_that_measures_nothing_has_no_interval_and_no_channel() {
        assert_eq!(
            faults(&format!("{LAMP}every_secs = 5\nchannel = \"a\"\n")),
            "line 5: driver `led` measures nothing: it has no `every_secs`\n\
             line 6: driver `led` measures nothing: it has no `channel`"
        );
    }

    #[test]
    fn the_channel_of_a_pwm_controller_is_a_setting_of_its_driver() {
        let pwm = Settings::parse("id = \"fan\"\n[[device]]\ndriver = \"pwm\"\nchannel = 1\n").unwrap();

        assert_eq!(pwm.devices[0].rest["channel"], 1);
    }

    #[test]
    fn two_devices_of_one_series_and_two_that_take_commands_are_refused() {
        let two = |driver: &str, first: &str, second: &str| {
            let device = |settings: &str| format!("[[device]]\ndriver = \"{driver}\"\n{settings}\n");
            faults(&format!("id = \"a\"\n{}{}", device(first), device(second)))
        };

        assert_eq!(
            two("bmp280", "", "address = 0x77"),
            "line 5: two devices measure temperature: give one of them a `channel`\n\
             line 5: two devices measure pressure: give one of them a `channel`"
        );
        assert!(
            two(
                "counter",
                "pin = 5\nquantity = \"energy\"\nunit = \"Wh\"\nchannel = \"in\"",
                "pin = 6\nquantity = \"energy\"\nunit = \"Wh\"\nchannel = \"in\""
            )
            .contains("on channel `in`")
        );
        assert_eq!(
            two("led", "pin = 17", "pin = 18"),
            "line 5: a module has at most one device that takes commands: make another module of `led`"
        );
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
