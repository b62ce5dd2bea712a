//! What a module is: something with a manifest that runs until it is told to stop.

pub(crate) mod actuator;
pub(crate) mod camera;
mod command_log;
pub(crate) mod composite;
pub(crate) mod runner;
mod safety_lease;
pub(crate) mod sensor;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::{
    device::DeviceError,
    model::manifest::Manifest,
    uplink::{Uplink, UplinkError},
};

/// A module. [`SensorModule`](crate::SensorModule), [`ActuatorModule`](crate::ActuatorModule), [`CameraModule`](crate::CameraModule) and
/// [`CompositeModule`](crate::CompositeModule) are ready-made; the [`Runner`](crate::Runner) registers and runs them.
#[async_trait]
pub trait Module: Send {
    /// What it offers. Does not change while it runs.
    fn manifest(&self) -> Manifest;

    /// Does its work until `stop` is cancelled, then leaves its devices safe and returns.
    ///
    /// A hub that cannot be reached and a device that fails are no reason to return: both come back.
    ///
    /// # Errors
    /// [`ModuleError`] when there is no sense in going on.
    ///
    /// # Cancel safety
    /// Not cancel safe: stop it through `stop`.
    async fn run(self: Box<Self>, up: Arc<dyn Uplink>, stop: CancellationToken) -> Result<(), ModuleError>;

    /// Does its work once and returns: one reading, one picture, what commands are waiting. For cron.
    ///
    /// # Errors
    /// [`ModuleError`], also when the device failed: cron then has an exit code to report.
    ///
    /// # Cancel safety
    /// Not cancel safe.
    async fn run_once(self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError>;
}

/// Why a module cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// Its device failed for good.
    #[error("the device failed")]
    Device(#[from] DeviceError),
    /// The hub refused it for good.
    #[error("the hub refused")]
    Uplink(#[from] UplinkError),
    /// Anything else, in one sentence.
    #[error("{0}")]
    Other(String),
}

#[async_trait]
impl Module for Box<dyn Module> {
    fn manifest(&self) -> Manifest {
        (**self).manifest()
    }

    async fn run(self: Box<Self>, up: Arc<dyn Uplink>, stop: CancellationToken) -> Result<(), ModuleError> {
        (*self).run(up, stop).await
    }

    async fn run_once(self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        (*self).run_once(up).await
    }
}
