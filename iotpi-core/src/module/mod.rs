//! Modules: the trait, the ready-made modules and the runner.

pub(crate) mod actions;
pub(crate) mod actuator;
// A module named like a function would hide the function in the documentation.
pub(crate) mod camera_function;
pub(crate) mod camera_module;
mod command_log;
pub(crate) mod composite;
pub(crate) mod measuring;
#[cfg(feature = "schemars")]
mod params_schema;
pub(crate) mod recorder;
pub(crate) mod report_on_change;
pub(crate) mod runner;
mod safety_lease;
pub(crate) mod sensor;

pub use self::{
    actions::{ActionFunction, Actions, NoParams, SafeFunction},
    actuator::ActuatorModule,
    camera_function::{CameraFunction, camera},
    camera_module::CameraModule,
    composite::CompositeModule,
    measuring::{IntoSamples, Measuring, measure, measure_blocking, measure_with},
    recorder::Recorder,
    report_on_change::ReportOnChange,
    runner::{RunError, Runner},
    sensor::SensorModule,
};

use std::sync::Arc;

use async_trait::async_trait;
pub use tokio_util::sync::CancellationToken;

use crate::{
    device::DeviceError,
    model::manifest::Manifest,
    uplink::{Uplink, UplinkError},
};

/// A program with a manifest that runs until it is stopped. [`SensorModule`], [`ActuatorModule`],
/// [`CameraModule`] and [`CompositeModule`] are ready-made; the [`Runner`] registers and runs them.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use iotpi_core::{Manifest, Module, ModuleError, Uplink, async_trait, model::command::StatusReport};
/// use tokio_util::sync::CancellationToken;
///
/// /// Reports a heartbeat every minute.
/// struct Heartbeat;
///
/// #[async_trait]
/// impl Module for Heartbeat {
///     fn manifest(&self) -> Manifest {
///         Manifest::new().with_heartbeat(Duration::from_secs(60))
///     }
///
///     async fn run(self: Box<Self>, _: Arc<dyn Uplink>, stop: CancellationToken) -> Result<(), ModuleError> {
///         stop.cancelled().await;
///         Ok(())
///     }
///
///     async fn run_once(self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError> {
///         up.report(StatusReport::new()).await?;
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Module: Send {
    /// The module's description of itself. It does not change while the module runs.
    fn manifest(&self) -> Manifest;

    /// Runs until `stop` is cancelled, then puts its devices into their safe state and returns.
    ///
    /// An unreachable hub and a failing device are no reason to return: both may recover.
    ///
    /// # Errors
    /// [`ModuleError`] if the module cannot continue.
    ///
    /// # Cancel safety
    /// Not cancel safe: use `stop`.
    async fn run(self: Box<Self>, up: Arc<dyn Uplink>, stop: CancellationToken) -> Result<(), ModuleError>;

    /// Runs once and returns: one reading, one frame, the waiting commands. For cron.
    ///
    /// # Errors
    /// [`ModuleError`], also if the device failed: cron then has an exit code to report.
    ///
    /// # Cancel safety
    /// Not cancel safe.
    async fn run_once(self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError>;
}

/// The reasons why a module cannot continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The device failed permanently.
    #[error("the device failed")]
    Device(#[from] DeviceError),
    /// The hub refused the module permanently.
    #[error("the hub refused")]
    Uplink(#[from] UplinkError),
    /// Any other reason, in one sentence.
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
