//! Builds a module from its settings: opens each device and combines all of them under one id.

use std::{path::Path, sync::Arc};

use anyhow::{Context, bail, ensure};
use iotpi_core::{
    ActuatorModule, CameraModule, CompositeModule, Manifest, Module, ModuleError, Uplink, async_trait,
};
use iotpi_hal::catalog::{self, Device, Setup};
use tokio_util::sync::CancellationToken;

use crate::settings::{DeviceSettings, Settings, is_new_series};

/// The command log of hazardous commands in the folder of the outbox. The outbox does not touch it, and locks
/// the folder against other modules.
const COMMAND_LOG: &str = "commands.json";

/// A module made of devices from the catalog.
#[derive(Debug)]
pub struct Stock {
    /// The manifest of the settings, which is merged with the manifest of the devices.
    manifest: Manifest,
    devices: CompositeModule,
}

impl Stock {
    /// Opens all devices. With the folder of the module's outbox, hazardous commands are logged there, and
    /// drivers keep their state there.
    pub fn open(settings: &Settings, setup: &Setup, outbox: Option<&Path>) -> anyhow::Result<Self> {
        let setup = match outbox {
            Some(folder) => &setup.clone().with_state_folder(folder),
            None => setup,
        };
        let mut manifest = Manifest::new().with_version(env!("CARGO_PKG_VERSION"));
        manifest.description = settings.description.clone();
        manifest.heartbeat_secs = settings.heartbeat_secs;
        let devices = settings.devices.iter().try_fold(CompositeModule::new(), |devices, device| {
            add(devices, device, setup, outbox).with_context(|| format!("module `{}`", settings.id))
        })?;
        check_series(&devices.manifest()).with_context(|| format!("module `{}`", settings.id))?;
        Ok(Self { manifest, devices })
    }
}

/// Refuses two devices that would record the same series. The settings were checked for that, but without the
/// devices that the kernel drives.
fn check_series(manifest: &Manifest) -> anyhow::Result<()> {
    for (index, measure) in manifest.measures.iter().enumerate() {
        is_new_series(measure, &manifest.measures[..index]).map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

fn add(
    devices: CompositeModule,
    settings: &DeviceSettings,
    setup: &Setup,
    outbox: Option<&Path>,
) -> anyhow::Result<CompositeModule> {
    let device = catalog::open(&settings.driver, settings.rest.clone(), setup)?;
    let measures = matches!(device, Device::Sensor(_));
    ensure!(
        measures || settings.every_secs.is_none(),
        "driver `{}` measures nothing: it has no `every_secs`",
        settings.driver
    );
    ensure!(
        measures || settings.channel.is_none(),
        "driver `{}` measures nothing: it has no `channel`",
        settings.driver
    );
    Ok(match device {
        Device::Sensor(sensor) => devices.with(settings.module(sensor).map_err(described)?),
        Device::Actuator(actuator) => {
            let module = ActuatorModule::new(actuator);
            devices.with(match outbox {
                Some(folder) => module.with_command_log(folder.join(COMMAND_LOG)),
                None => module,
            })
        }
        Device::Camera(camera) => devices.with(CameraModule::new(camera)),
        _ => bail!("driver `{}` is of a kind that this program does not know", settings.driver),
    })
}

/// The error of settings for quantities that a device of the kernel does not have.
fn described(wrong: Vec<(usize, String)>) -> anyhow::Error {
    let lines: Vec<_> = wrong.into_iter().map(|(line, message)| format!("line {line}: {message}")).collect();
    anyhow::anyhow!(lines.join("\n"))
}

#[async_trait]
impl Module for Stock {
    fn manifest(&self) -> Manifest {
        self.manifest.clone().and(self.devices.manifest())
    }

    async fn run(self: Box<Self>, up: Arc<dyn Uplink>, stop: CancellationToken) -> Result<(), ModuleError> {
        Box::new(self.devices).run(up, stop).await
    }

    async fn run_once(self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        Box::new(self.devices).run_once(up).await
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use iotpi_core::{
        Channel, Runner, SystemClock,
        model::command::{CommandOutcome, LeasedCommand},
        testing::RecordingUplink,
    };
    use iotpi_hal::catalog;
    use serde_json::json;

    use super::*;

    const FOLDERS: [&str; 18] = [
        "temperature",
        "humidity",
        "air",
        "light",
        "power",
        "analog",
        "distance",
        "weight",
        "led",
        "relay",
        "servo",
        "pwm",
        "motion",
        "input",
        "counter",
        "camera",
        "system",
        "kernel",
    ];

    fn read(folder: &str, file: &str) -> String {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(file)).unwrap()
    }

    fn on_simulated_devices(text: &str) -> anyhow::Result<Stock> {
        with_outbox(text, None)
    }

    fn with_outbox(text: &str, outbox: Option<&Path>) -> anyhow::Result<Stock> {
        let mut settings = Settings::parse(text)?;
        for device in &mut settings.devices {
            if device.rest.contains_key("bus") {
                device.rest.insert("bus".to_owned(), json!("sim"));
            }
        }
        Stock::open(&settings, &Setup::new(SystemClock::shared()), outbox)
    }

    /// The TOML blocks of a page.
    fn blocks(page: &str) -> impl Iterator<Item = &str> {
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next())
    }

    #[tokio::test]
    async fn the_settings_of_every_stock_module_open_their_devices() {
        for folder in FOLDERS {
            let module = on_simulated_devices(&read(folder, "module.toml"))
                .unwrap_or_else(|e| panic!("{folder}: {e:#}"));

            let manifest = module.manifest();
            assert!(manifest.description.is_some() && manifest.version.is_some(), "{folder}");
            let offers =
                manifest.measures.len() + manifest.actions.len() + usize::from(manifest.camera.is_some());
            assert!(offers > 0, "{folder} offers nothing");
        }
    }

    #[tokio::test]
    async fn the_settings_in_every_readme_are_right() {
        let mut seen = 0;
        for folder in FOLDERS.into_iter().chain(["."]) {
            for block in blocks(&read(folder, "README.md")) {
                if block.contains("\"v4l") && catalog::find("v4l").is_none() {
                    continue;
                }
                let settings = Settings::parse(block).unwrap_or_else(|e| panic!("{folder}: {e:#}"));
                // Without the driver in this build, or without its file, the settings are only parsed.
                let needs_more = ["v4l", "v4l-controls", "replay"];
                if settings.devices.iter().all(|device| !needs_more.contains(&device.driver.as_str())) {
                    on_simulated_devices(block).unwrap_or_else(|e| panic!("{folder}: {e:#}"));
                }
                seen += 1;
            }
        }

        assert!(seen >= FOLDERS.len(), "{seen}");
    }

    #[test]
    fn every_page_the_catalog_names_is_there() {
        for entry in catalog::entries() {
            let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(entry.readme);
            assert!(page.is_file(), "{}: {}", entry.name, page.display());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn devices_under_one_id_measure_and_obey() {
        let text = "id = \"greenhouse\"\nheartbeat_secs = 5\n[[device]]\ndriver = \"ds18b20\"\nbus = \"sim\"\n\
                    [[device]]\ndriver = \"led\"\nbus = \"sim\"\npin = 17\n";
        let module = on_simulated_devices(text).unwrap();
        let hub = RecordingUplink::new("greenhouse".parse().unwrap());
        let stop = CancellationToken::new();
        let params = serde_json::from_str(r#"{"brightness": 30}"#).unwrap();
        hub.command("set", params);

        let running = tokio::spawn(Runner::new(hub.clone()).run_until(module, stop.clone()));
        let done = |hub: &RecordingUplink| hub.reports().iter().any(|report| report.command.is_some());
        hub.until(|hub| !hub.readings().is_empty() && done(hub)).await;
        stop.cancel();
        running.await.unwrap().unwrap();

        assert_eq!(hub.manifests()[0].heartbeat(), Duration::from_secs(5));
        assert_eq!(hub.readings()[0].quantity.name().as_str(), "temperature");
        // The lamp was switched off at the end of the module.
        assert_eq!(hub.reports().last().unwrap().state.as_ref().unwrap()["on"], json!(false));
    }

    #[tokio::test(start_paused = true)]
    async fn readings_are_calibrated_and_unchanged_ones_are_left_out() {
        let text = "id = \"attic\"\n[[device]]\ndriver = \"ds18b20\"\nbus = \"sim\"\nevery_secs = 10\n\
                    calibration.temperature = { scale = 0, offset = 1 }\n";
        assert!(on_simulated_devices(text).is_err());
        let text = text.replace("scale = 0, offset = 1", "scale = 1e-9, offset = 40.0")
            + "min_change.temperature = 0.1\nmax_interval_secs = 60\n";
        let hub = RecordingUplink::new("attic".parse().unwrap());
        let stop = CancellationToken::new();

        let runner = Runner::new(hub.clone());
        let running = tokio::spawn(runner.run_until(on_simulated_devices(&text).unwrap(), stop.clone()));
        tokio::time::sleep(Duration::from_secs(125)).await;
        stop.cancel();
        running.await.unwrap().unwrap();

        let values: Vec<_> = hub.readings().iter().filter_map(|reading| reading.outcome.value()).collect();
        assert_eq!(values.iter().map(|value| value.round()).collect::<Vec<_>>(), [40.0; 3]);
        assert_eq!(hub.manifests()[0].measures[0].every_secs, Some(60.0));
    }

    #[tokio::test]
    async fn three_thermometers_of_one_module_are_three_series() {
        let ids = ["28-0316a2790c1b", "28-0416c4a1e2ff", "28-00000b5a0d3e"];
        let devices = ids.map(|id| {
            format!("[[device]]\ndriver = \"ds18b20\"\nbus = \"sim\"\nid = \"{id}\"\nchannel = \"{id}\"\n")
        });
        let module = on_simulated_devices(&format!("id = \"tank\"\n{}", devices.concat())).unwrap();
        let hub = RecordingUplink::new("tank".parse().unwrap());

        let measures = module.manifest().measures;
        Runner::new(hub.clone()).once(module).await.unwrap();

        let channels = |of: Vec<Option<Channel>>| {
            let mut names: Vec<_> = of.into_iter().flatten().map(|channel| channel.to_string()).collect();
            names.sort();
            names
        };
        let mut sorted = ids;
        sorted.sort_unstable();
        assert_eq!(channels(measures.into_iter().map(|measure| measure.channel).collect()), sorted);
        assert_eq!(channels(hub.readings().iter().map(|reading| reading.channel.clone()).collect()), sorted);
        assert!(hub.readings().iter().all(|reading| reading.outcome.value().is_some()));
    }

    #[tokio::test]
    async fn two_devices_of_one_series_are_refused() {
        let error = |channels: [&str; 2]| {
            let devices = channels
                .map(|channel| format!("[[device]]\ndriver = \"bme280\"\nbus = \"sim\"\n{channel}\n"));
            format!("{:#}", on_simulated_devices(&format!("id = \"a\"\n{}", devices.concat())).unwrap_err())
        };

        assert!(error(["", ""]).contains("two devices measure temperature: give one of them a `channel`"));
        assert!(error(["channel = \"in\""; 2]).contains("on channel `in`"));
        let module = "id = \"a\"\n[[device]]\ndriver = \"bme280\"\nbus = \"sim\"\n[[device]]\ndriver = \"bme280\"\n\
             bus = \"sim\"\naddress = 0x77\nchannel = \"outside\"\n";
        assert_eq!(on_simulated_devices(module).unwrap().manifest().measures.len(), 6);
    }

    #[tokio::test]
    async fn a_hazardous_command_is_remembered_beside_the_readings_that_wait() {
        let folder = tempfile::tempdir().unwrap();
        let command = json!({"id": "a", "module_id": "lamp", "action": "set", "params": {"on": true},
            "state": "leased", "issued_by": "anna", "created_at": 1_795_473_000, "expires_at": 1_795_473_060,
            "attempts": 1, "lease": "l", "lease_secs": 30.0, "expires_in": 60.0, "hazardous": true});
        let command: LeasedCommand = serde_json::from_value(command).unwrap();
        // Two runs in separate processes: a hub with an older database delivers the command again.
        let mut lines = Vec::new();
        for _ in 0..2 {
            let module = with_outbox(
                "id = \"lamp\"\n[[device]]\ndriver = \"led\"\nbus = \"sim\"\npin = 17\n",
                Some(folder.path()),
            );
            let hub = RecordingUplink::new("lamp".parse().unwrap());
            let stop = CancellationToken::new();
            hub.lease(command.clone());

            let runner = Runner::new(hub.clone()).with_outbox_dir(folder.path());
            let running = tokio::spawn(runner.run_until(module.unwrap(), stop.clone()));
            let reported = |hub: &RecordingUplink| {
                let reports = hub.reports().into_iter().filter_map(|report| report.command);
                reports.map(|command| command.outcome).collect::<Vec<_>>()
            };
            hub.until(|hub| reported(hub).len() >= 2).await;
            stop.cancel();
            running.await.unwrap().unwrap();

            let lit =
                hub.reports().iter().filter_map(|r| r.state.clone()).any(|state| state["on"] == json!(true));
            lines.push((reported(&hub), lit));
        }

        let [(first, lit), (second, lit_again)] = &lines[..] else { panic!("{lines:?}") };
        assert!(
            matches!(first[..], [CommandOutcome::Started, CommandOutcome::Succeeded { .. }]),
            "{first:?}"
        );
        assert_eq!(second[..], [first[1].clone(), first[1].clone()]);
        assert_eq!((*lit, *lit_again), (true, false));
    }

    #[tokio::test]
    async fn settings_that_make_no_sense_are_refused_in_words() {
        let error = |device: &str| {
            let text = format!("id = \"a\"\n[[device]]\n{device}");
            format!("{:#}", on_simulated_devices(&text).unwrap_err())
        };

        assert!(error("driver = \"bme820\"").contains("bme280"));
        assert!(error("driver = \"led\"\nbus = \"sim\"").contains("pin"));
        assert!(error("driver = \"led\"\nbus = \"sim\"\npin = 17\nevery_secs = 5").contains("every_secs"));
        assert!(error("driver = \"bme280\"\nbus = \"sim\"\naddress = 16").contains("0x76"));
        assert!(error("driver = \"led\"\nbus = \"sim\"\npin = 17\nchannel = \"a\"").contains("no `channel`"));
        assert!(error("driver = \"ds18b20\"\nbus = \"sim\"\nid = \"../etc\"").contains("28-"));
    }
}
