//! The modules of the demo: their settings, and the command that runs one.

use std::{
    convert::Infallible,
    fmt::Write,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::Context;
use tokio::process::Command;

use crate::child::{ENDS_WITH_STDIN, Programs};

/// The modules, in the order they are started. A module's id is its name.
pub const NAMES: [&str; 4] = ["system", "temperature", "led", "camera"];

/// Where the camera's pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraSource {
    TestCard,
    /// A folder of JPEG files, shown over and over.
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

/// Reads seconds between signs of life.
pub fn heartbeat(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(secs) if (1.0..=3600.0).contains(&secs) => Ok(secs),
        _ => Err("1 to 3600 seconds".to_owned()),
    }
}

/// Writes each module's settings into the data folder, anew at every start, and says where.
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
    let mut text = String::from("# Written by iotpi-demo at every start.\n");
    writeln!(text, "id = \"{name}\"\nheartbeat_secs = {heartbeat:?}")?;
    text.push_str(match name {
        "system" => "description = \"This machine\"\nevery_secs = 5\n\n[device]\ndriver = \"system\"\n",
        "temperature" => {
            "description = \"A BME280 in a simulated room\"\nevery_secs = 2\n\n\
             [device]\ndriver = \"bme280\"\nbus = \"sim\"\n"
        }
        "led" => "description = \"A lamp on a simulated pin\"\n\n[device]\ndriver = \"led\"\nbus = \"sim\"\npin = 17\n",
        _ => "description = \"A camera\"\n\n[device]\n",
    });
    if name == "camera" {
        let absolute = |path: &Path| {
            let path = std::path::absolute(path).context("the camera's pictures cannot be found")?;
            // A TOML basic string is written as a Rust one is.
            Ok::<_, anyhow::Error>(format!("{:?}", path.display().to_string()))
        };
        match camera {
            CameraSource::TestCard => text.push_str("driver = \"testcard\"\nfps = 12\n"),
            CameraSource::Folder(path) => {
                writeln!(text, "driver = \"replay\"\npath = {}\nfps = 12", absolute(path)?)?
            }
            CameraSource::Device(path) => writeln!(text, "driver = \"v4l\"\ndevice = {}", absolute(path)?)?,
        }
    }
    Ok(text)
}

/// The command that runs a module.
pub fn command(programs: &Programs, settings: &Path, hub: &str, token: String) -> Command {
    let mut command = Command::new(&programs.module);
    command.arg("run").arg(settings).arg(ENDS_WITH_STDIN);
    // The environment, not the command line: only this user can read it.
    command.env("IOTPI_URL", hub).env("IOTPI_TOKEN", token);
    command
}
