//! Opens cameras.

use std::path::PathBuf;

use iotpi_core::CameraSpec;
use serde::Deserialize;
use serde_json::Value;

use super::{CatalogEntry, Device, Failure, Setup, read};
#[cfg(feature = "v4l")]
use crate::camera::v4l::{ControlActuator, Controls, V4l, V4lConfig};
use crate::{
    bus::Bus,
    camera::{
        replay::Replay,
        rpicam::{Rpicam, RpicamConfig},
        testcard::TestCard,
    },
};

pub(super) static ENTRIES: &[CatalogEntry] = &[
    CatalogEntry {
        name: "testcard",
        title: "Moving test card with the time painted in",
        offers: &[],
        connects: "nothing",
        buses: &[],
        example: "width = 640\nheight = 480\nfps = 12",
        readme: "reference-app/modules/camera/README.md",
        open: testcard,
    },
    CatalogEntry {
        name: "replay",
        title: "Recorded pictures: a folder of JPEG files, or an MJPEG file",
        offers: &[],
        connects: "a path",
        buses: &[],
        example: "path = \"pictures\"\nfps = 12",
        readme: "reference-app/modules/camera/README.md",
        open: replay,
    },
    CatalogEntry {
        name: "rpicam",
        title: "Pi camera module, through rpicam-vid",
        offers: &[],
        connects: "the camera connector (CSI)",
        buses: &[Bus::Sim, Bus::Linux],
        example: "bus = \"sim\"\ncamera = 0\nwidth = 640\nheight = 480\nfps = 15",
        readme: "reference-app/modules/camera/README.md",
        open: rpicam,
    },
    #[cfg(feature = "v4l")]
    CatalogEntry {
        name: "v4l",
        title: "V4L2 camera: USB, or a Pi camera with a V4L2 driver",
        offers: &[],
        connects: "/dev/video0",
        buses: &[Bus::Sim, Bus::Linux],
        example: "bus = \"sim\"\ndevice = \"/dev/video0\"\nwidth = 640\nheight = 480\nfps = 15",
        readme: "reference-app/modules/camera/README.md",
        open: v4l,
    },
    #[cfg(feature = "v4l")]
    CatalogEntry {
        name: "v4l-controls",
        title: "Brightness, exposure, focus... of a V4L2 camera, while it is watched",
        offers: &["set"],
        connects: "/dev/video0",
        // Only a kernel with the camera can test it: `make test-vm` does.
        buses: &[],
        example: "device = \"/dev/video0\"",
        readme: "reference-app/modules/camera/README.md",
        open: v4l_controls,
    },
];

/// Settings of `testcard`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TestCardSettings {
    /// Width in pixels, 160 to 3,840. Default 640.
    pub width: u32,
    /// Height in pixels, 120 to 2,160. Default 480.
    pub height: u32,
    /// Frames per second, 0.1 to 60. Default 12.
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
#[non_exhaustive]
pub struct ReplaySettings {
    /// A folder of JPEG files, or an MJPEG file.
    pub path: PathBuf,
    /// Frames per second, 0.1 to 60. Default 12.
    #[serde(default = "replay_fps")]
    pub fps: f64,
}

fn replay_fps() -> f64 {
    12.0
}

/// Settings of `rpicam`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RpicamSettings {
    /// `linux` (default), or `sim` for a test card in its place.
    pub bus: Bus,
    /// The index of the camera in `rpicam-hello --list-cameras`. Default 0.
    pub camera: u32,
    /// Width in pixels, 16 to 8,192. Default 640.
    pub width: u32,
    /// Height in pixels, 16 to 8,192. Default 480.
    pub height: u32,
    /// Frames per second, 0.1 to 240. Default 15.
    pub fps: f64,
    /// JPEG quality, 1 to 100. Default 80.
    pub quality: u8,
    /// Rotation: 0 (default) or 180 degrees.
    pub rotation: u32,
    /// Mirrors the image horizontally.
    pub hflip: bool,
    /// Mirrors the image vertically.
    pub vflip: bool,
    /// The path of the program, where it is not `rpicam-vid` or `libcamera-vid` in `PATH`. A wrapper script
    /// ends in `exec rpicam-vid "$@"`.
    pub program: Option<PathBuf>,
}

impl Default for RpicamSettings {
    fn default() -> Self {
        let RpicamConfig { camera, width, height, fps, quality, hflip, vflip, program, .. } =
            RpicamConfig::default();
        Self { bus: Bus::default(), camera, width, height, fps, quality, rotation: 0, hflip, vflip, program }
    }
}

/// Settings of `v4l`.
#[cfg(feature = "v4l")]
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct V4lSettings {
    /// `linux` (default), or `sim` for a test card in its place.
    pub bus: Bus,
    /// The device file, `/dev/video0`. A name in `/dev/v4l/by-id` does not change when other devices are
    /// plugged in.
    pub device: PathBuf,
    /// Width in pixels. Default 640. The nearest size of the camera is used.
    pub width: u32,
    /// Height in pixels. Default 480.
    pub height: u32,
    /// Frames per second. Default 15. The nearest rate of the camera is used.
    pub fps: u32,
    /// Controls to set on the camera, by the names of `v4l2-ctl --list-ctrls`: `{ brightness = 128 }`.
    pub controls: Controls,
}

#[cfg(feature = "v4l")]
impl Default for V4lSettings {
    fn default() -> Self {
        let (bus, controls) = (Bus::default(), Controls::new());
        Self { bus, device: "/dev/video0".into(), width: 640, height: 480, fps: 15, controls }
    }
}

/// Settings of `v4l-controls`.
#[cfg(feature = "v4l")]
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct V4lControlsSettings {
    /// The device file of the camera: `/dev/video0`.
    pub device: PathBuf,
}

#[cfg(feature = "v4l")]
impl Default for V4lControlsSettings {
    fn default() -> Self {
        Self { device: "/dev/video0".into() }
    }
}

fn testcard(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let TestCardSettings { width, height, fps } = read(settings)?;
    let spec = CameraSpec::new(width, height, fps);
    Ok(Device::Camera(Box::new(TestCard::new(spec, setup.clock.clone())?)))
}

fn replay(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let ReplaySettings { path, fps } = read(settings)?;
    Ok(Device::Camera(Box::new(Replay::open(&path, fps, setup.clock.clone())?)))
}

fn rpicam(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let settings: RpicamSettings = read(settings)?;
    let turned = match settings.rotation {
        0 => false,
        180 => true,
        _ => return Err(super::wrong("`rotation` is 0 or 180")),
    };
    let RpicamSettings { bus, camera, width, height, fps, quality, hflip, vflip, program, .. } = settings;
    let clock = setup.clock.clone();
    match bus {
        Bus::Linux => {
            let (hflip, vflip) = (hflip != turned, vflip != turned);
            let config = RpicamConfig {
                camera,
                width,
                height,
                fps,
                quality,
                hflip,
                vflip,
                program,
                ..RpicamConfig::default()
            };
            Ok(Device::Camera(Box::new(Rpicam::open(config, clock)?)))
        }
        Bus::Sim => Ok(Device::Camera(Box::new(TestCard::new(CameraSpec::new(width, height, fps), clock)?))),
        other @ Bus::Pi => Err(super::not_built(other)),
    }
}

#[cfg(feature = "v4l")]
fn v4l(settings: Value, setup: &Setup) -> Result<Device, Failure> {
    let V4lSettings { bus, device, width, height, fps, controls } = read(settings)?;
    let clock = setup.clock.clone();
    match bus {
        Bus::Linux => {
            let config = V4lConfig { device, width, height, fps, controls };
            Ok(Device::Camera(Box::new(V4l::open(config, clock)?)))
        }
        Bus::Sim => {
            let spec = CameraSpec::new(width, height, fps.into());
            Ok(Device::Camera(Box::new(TestCard::new(spec, clock)?)))
        }
        other @ Bus::Pi => Err(super::not_built(other)),
    }
}

#[cfg(feature = "v4l")]
fn v4l_controls(settings: Value, _: &Setup) -> Result<Device, Failure> {
    let V4lControlsSettings { device } = read(settings)?;
    Ok(Device::Actuator(Box::new(ControlActuator::new(device))))
}
