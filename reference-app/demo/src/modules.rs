//! The modules of the demo: their settings, and the command that runs one.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::Context;
use tokio::process::Command;

use crate::child::{ENDS_WITH_STDIN, Programs};

/// The modules in the order they are started. The id of a module is its name.
pub const NAMES: [&str; 4] = ["system", "temperature", "led", "camera"];

/// The source of the camera's frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraSource {
    TestCard,
    /// A folder of JPEG files, replayed in a loop.
    Folder(PathBuf),
    /// A V4L2 device.
    Device(PathBuf),
}

impl FromStr for CameraSource {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "testcard" => Self::TestCard,
            device if device.starts_with("/dev/") => Self::Device(device.into()),
            folder => Self::Folder(folder.into()),
        })
    }
}

/// Parses the heartbeat interval in seconds.
pub fn heartbeat(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(secs) if (1.0..=3600.0).contains(&secs) => Ok(secs),
        _ => Err("1 to 3600 seconds".to_owned()),
    }
}

/// Writes the settings of each module into the data folder, again at every start, and returns their paths.
pub async fn write_settings(
    data: &Path,
    camera: &CameraSource,
    heartbeat: f64,
) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let folder = data.join("modules");
    tokio::fs::create_dir_all(&folder)
        .await
        .context("the folder for the modules' settings cannot be made")?;
    let mut files = Vec::with_capacity(NAMES.len());
    for name in NAMES {
        let file = folder.join(format!("{name}.toml"));
        let text = settings(name, camera, heartbeat)?;
        tokio::fs::write(&file, text)
            .await
            .with_context(|| format!("{} cannot be written", file.display()))?;
        files.push((name, file));
    }
    Ok(files)
}

fn settings(name: &str, camera: &CameraSource, heartbeat: f64) -> anyhow::Result<String> {
    let mut text = format!(
        "# Written by iotpi-demo at every start.\nid = \"{name}\"\nheartbeat_secs = {heartbeat:?}\ndescription = "
    );
    match name {
        "system" => {
            text.push_str("\"This machine\"\n\n[[device]]\ndriver = \"system\"\nevery_secs = 5\n");
        }
        "temperature" => text.push_str(
            "\"A BME280 in a simulated room\"\n\n[[device]]\ndriver = \"bme280\"\nbus = \"sim\"\nevery_secs = 2\n",
        ),
        "led" => text.push_str(
            "\"A lamp on a simulated pin\"\n\n[[device]]\ndriver = \"led\"\nbus = \"sim\"\npin = 17\n",
        ),
        _ => text.push_str(&camera_settings(camera)?),
    }
    Ok(text)
}

fn camera_settings(camera: &CameraSource) -> anyhow::Result<String> {
    let quoted = |path: &Path| {
        let path = std::path::absolute(path).context("the camera's pictures cannot be found")?;
        // A JSON string is also a valid TOML basic string.
        serde_json::to_string(path.to_str().context("the camera's path is not UTF-8")?)
            .map_err(anyhow::Error::from)
    };
    Ok(match camera {
        CameraSource::TestCard => {
            "\"A test card\"\n\n[[device]]\ndriver = \"testcard\"\nfps = 12\n".to_owned()
        }
        CameraSource::Folder(path) => {
            format!("\"Recorded pictures\"\n\n[[device]]\ndriver = \"replay\"\npath = {}\n", quoted(path)?)
        }
        CameraSource::Device(path) => {
            format!("\"A camera\"\n\n[[device]]\ndriver = \"v4l\"\ndevice = {}\n", quoted(path)?)
        }
    })
}

/// The command that runs a module.
pub fn command(programs: &Programs, settings: &Path, hub: &str, token: String) -> Command {
    let mut command = Command::new(&programs.module);
    // The folder of its outbox is beside its settings.
    command
        .arg("run")
        .arg(settings)
        .arg("--outbox")
        .arg(settings.with_extension("outbox"))
        .arg(ENDS_WITH_STDIN);
    // The environment, not the command line: only this user can read it.
    command.env("IOTPI_URL", hub).env("IOTPI_TOKEN", token);
    command
}
