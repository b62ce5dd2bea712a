//! Settings become a module: each device in its ready-made form, all of them under one id.

use std::sync::Arc;

use anyhow::{Context, ensure};
use iotpi_core::{Manifest, Module, ModuleError, Obeying, Polling, Streaming, Together, Uplink, async_trait};
use iotpi_hal::catalog::{self, Device, Setup};
use tokio_util::sync::CancellationToken;

use crate::settings::{DeviceSettings, Settings};

/// A module made of devices from the catalog.
#[derive(Debug)]
pub struct Stock {
    /// What the settings add to what the devices say of themselves.
    manifest: Manifest,
    devices: Together,
}

impl Stock {
    /// Opens all devices.
    pub fn open(settings: &Settings, setup: &Setup) -> anyhow::Result<Self> {
        let manifest = Manifest {
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            description: settings.description.clone(),
            heartbeat_secs: settings.heartbeat_secs,
            ..Manifest::default()
        };
        let devices = settings.devices.iter().try_fold(Together::new(), |devices, device| {
            add(devices, device, setup).with_context(|| format!("module `{}`", settings.id))
        })?;
        Ok(Self { manifest, devices })
    }
}

fn add(devices: Together, settings: &DeviceSettings, setup: &Setup) -> anyhow::Result<Together> {
    let device = catalog::open(&settings.driver, settings.rest.clone(), setup)?;
    let measures = matches!(device, Device::Sensor(_));
    ensure!(
        measures || settings.every_secs.is_none(),
        "driver `{}` measures nothing: it has no `every_secs`",
        settings.driver
    );
    Ok(match device {
        Device::Sensor(sensor) => devices.with(Polling::new(sensor, settings.every())),
        Device::Actuator(actuator) => devices.with(Obeying::new(actuator)),
        Device::Camera(camera) => devices.with(Streaming::new(camera)),
    })
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
