//! Opening cameras.

use std::path::PathBuf;

use iotpi_core::CameraSpec;
use serde::Deserialize;
use serde_json::Value;

use super::{Device, Failure, Setup, read};
use crate::camera::{replay::Replay, testcard::TestCard};
#[cfg(feature = "v4l")]
use crate::{bus::Bus, camera::v4l::V4l};

/// Settings of `testcard`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestCardSettings {
    /// Pixels, 160 to 3,840: 640.
    pub width: u32,
    /// Pixels, 120 to 2,160: 480.
    pub height: u32,
    /// Frames a second, 0.1 to 60: 12.
    pub fps: f64,
}

impl Default for TestCardSettings {
    fn default() -> Self {
        Self { width: 640, height: 480, fps: 12.0 }
    }
}

/// Settings of `replay`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaySettings {
    /// A folder of JPEG files, or an MJPEG file.
    pub path: PathBuf,
    /// Pictures a second, 0.1 to 60: 12.
    #[serde(default = "replay_fps")]
    pub fps: f64,
}

fn replay_fps() -> f64 {
    12.0
}

/// Settings of `v4l`.
#[cfg(feature = "v4l")]
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct V4lSettings {
    /// `linux` (default), or `sim` for a test card in its place.
    pub bus: Bus,
    /// `/dev/video0`.
    pub device: PathBuf,
    /// Pixels: 640. The camera's nearest is taken.
    pub width: u32,
    /// Pixels: 480.
    pub height: u32,
    /// Frames a second: 15. The camera's nearest is taken.
    pub fps: u32,
}

#[cfg(feature = "v4l")]
impl Default for V4lSettings {
    fn default() -> Self {
        Self { bus: Bus::default(), device: "/dev/video0".into(), width: 640, height: 480, fps: 15 }
    }
}

pub(super) fn testcard(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let TestCardSettings { width, height, fps } = read(settings)?;
    let spec = CameraSpec { width, height, fps };
    Ok(Device::Camera(Box::new(TestCard::new(spec, setup.clock.clone())?)))
}

pub(super) fn replay(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let ReplaySettings { path, fps } = read(settings)?;
    Ok(Device::Camera(Box::new(Replay::open(&path, fps, setup.clock.clone())?)))
}

#[cfg(feature = "v4l")]
pub(super) fn v4l(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let V4lSettings { bus, device, width, height, fps } = read(settings)?;
    let clock = setup.clock.clone();
    match bus {
        Bus::Linux => Ok(Device::Camera(Box::new(V4l::open(&device, width, height, fps, clock)?))),
        Bus::Sim => {
            let spec = CameraSpec { width, height, fps: fps.into() };
            Ok(Device::Camera(Box::new(TestCard::new(spec, clock)?)))
        }
        other @ Bus::Pi => Err(super::not_built(other)),
    }
}
