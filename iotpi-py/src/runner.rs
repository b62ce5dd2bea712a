//! A module made of Python functions, registered and kept going by the core's runner.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use iotpi_core::{
    ActionSpec, ActuatorModule, CameraModule, CameraSpec, CompositeModule, Manifest, Module, ModuleError,
    ModuleId, SensorModule, Uplink, model::manifest::Measure,
};
use pyo3::{exceptions::PyRuntimeError, prelude::*};
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::{id, seconds},
    failure::{Failure, invalid},
    hub::Hub,
    module::{Acting, Function, Measuring, Seeing, SeriesPart, declared},
    pending::{Answer, Pending},
    recorder::{Receiver, Recorder},
    recording_hub::RecordingHub,
};

/// A sensor as Python declares it: its series, the seconds between measurements, its function.
type SensorPart = (Vec<SeriesPart>, f64, Py<PyAny>);
/// An action as Python says it: its entry in the manifest as JSON, function.
type ActionPart = (String, Py<PyAny>);
/// A camera as Python says it: width and height in pixels, frames a second, function.
type CameraPart = (u32, u32, f64, Py<PyAny>);

/// The hub of a module: a real one, or one for tests.
#[derive(FromPyObject)]
enum Uplinks<'py> {
    Hub(Bound<'py, Hub>),
    Recording(Bound<'py, RecordingHub>),
}

/// The file in the outbox's folder that remembers hazardous commands; the outbox leaves it alone, and lets no other module in.
const COMMAND_LOG: &str = "commands.json";

/// Several Python functions as one module, to be run once.
#[pyclass(module = "iotpi._iotpi", frozen)]
pub struct Runner {
    parts: Mutex<Option<(iotpi_core::Runner, Functions)>>,
    stop: CancellationToken,
}

#[pymethods]
impl Runner {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "called in one place, by keyword")]
    fn new(
        hub: Uplinks<'_>,
        module: &str,
        version: Option<String>,
        description: Option<String>,
        declared: Vec<SeriesPart>,
        sensors: Vec<SensorPart>,
        actions: Vec<ActionPart>,
        camera: Option<CameraPart>,
        state: Option<Py<PyAny>>,
        make_safe: Option<Py<PyAny>>,
        recorder: &Recorder,
        outbox: Option<PathBuf>,
    ) -> PyResult<Self> {
        let module: ModuleId = id(module)?;
        let actions = actions.into_iter().map(action).collect::<Result<_, _>>()?;
        let measures = declared.into_iter().map(measure).collect::<Result<Vec<_>, _>>()?;
        let mut about = Manifest::new().with_measures(measures);
        (about.version, about.description) = (version, description);
        let functions = Functions {
            about,
            sensors: sensors.into_iter().map(sensor).collect::<Result<_, _>>()?,
            acting: Acting::new(actions, state.map(Function::new), make_safe.map(Function::new)),
            command_log: outbox.as_ref().map(|folder| folder.join(COMMAND_LOG)),
            camera: camera.map(seeing).transpose()?,
            receiver: recorder.receiver(),
        };
        let mut runner = match hub {
            Uplinks::Hub(hub) => iotpi_core::Runner::new(hub.get().client()?.uplink(module)),
            Uplinks::Recording(hub) => iotpi_core::Runner::new(hub.get().uplink(module)),
        };
        if let Some(folder) = outbox {
            runner = runner.with_outbox_dir(folder);
        }
        Ok(Self { parts: Mutex::new(Some((runner, functions))), stop: CancellationToken::new() })
    }

    /// Runs until `stop`, then for at most 2 s to end in order.
    fn run(&self) -> PyResult<Pending> {
        let ((runner, functions), stop) = (self.take()?, self.stop.clone());
        Ok(Pending::new(async move {
            runner.run_until(functions, stop).await?;
            Ok(Answer::Nothing)
        }))
    }

    /// Measures once, shows one picture, does what commands are waiting.
    fn once(&self) -> PyResult<Pending> {
        let (runner, functions) = self.take()?;
        Ok(Pending::new(async move {
            runner.once(functions).await?;
            Ok(Answer::Nothing)
        }))
    }

    fn stop(&self) {
        self.stop.cancel();
    }
}

impl Runner {
    fn take(&self) -> PyResult<(iotpi_core::Runner, Functions)> {
        let taken = self.parts.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.ok_or_else(|| PyRuntimeError::new_err("this was run already"))
    }
}

fn measure(series: SeriesPart) -> Result<Measure, Failure> {
    Ok(Measure::new(declared(series)?, None))
}

fn sensor((series, every, function): SensorPart) -> Result<(Measuring, Duration), Failure> {
    Ok((Measuring::new(series, Function::new(function))?, seconds("every", every)?))
}

fn action((spec, function): ActionPart) -> Result<(ActionSpec, Function), Failure> {
    Ok((serde_json::from_str(&spec).map_err(invalid)?, Function::new(function)))
}

fn seeing((width, height, fps, function): CameraPart) -> Result<Seeing, Failure> {
    if !(fps.is_finite() && fps > 0.0) {
        return Err(invalid(format!("fps is more than 0, not {fps}")));
    }
    Ok(Seeing::new(CameraSpec::new(width, height, fps), Function::new(function)))
}

/// The module that Python's functions make.
struct Functions {
    about: Manifest,
    sensors: Vec<(Measuring, Duration)>,
    acting: Acting,
    command_log: Option<PathBuf>,
    camera: Option<Seeing>,
    receiver: Receiver,
}

impl Functions {
    async fn together(mut self) -> Parts {
        self.acting.look_at_state().await;
        let is_passive = self.sensors.is_empty() && self.acting.is_idle() && self.camera.is_none();
        let mut parts = CompositeModule::new();
        for (measuring, every) in self.sensors {
            parts = parts.with(SensorModule::new(measuring, every));
        }
        if !self.acting.is_idle() {
            let obeying = ActuatorModule::new(self.acting);
            parts = parts.with(match self.command_log {
                Some(path) => obeying.with_command_log(path),
                None => obeying,
            });
        }
        if let Some(camera) = self.camera {
            parts = parts.with(CameraModule::new(camera));
        }
        Parts { module: Box::new(parts), receiver: self.receiver, is_passive }
    }
}

/// The parts of the module, ready to run.
struct Parts {
    module: Box<CompositeModule>,
    receiver: Receiver,
    /// Whether there are no parts: all readings are recorded by the program.
    is_passive: bool,
}

#[async_trait]
impl Module for Functions {
    fn manifest(&self) -> Manifest {
        use iotpi_core::{Actuator, Camera, Sensor};

        let every = |(sensor, every): &(Measuring, Duration)| {
            sensor.series().into_iter().map(|one| Measure::new(one, Some(*every))).collect::<Vec<_>>()
        };
        let measures = self.sensors.iter().flat_map(every).chain(self.about.measures.iter().cloned());
        let mut manifest = self.about.clone().with_measures(measures).with_actions(self.acting.actions());
        manifest.camera = self.camera.as_ref().map(Camera::spec);
        manifest
    }

    async fn run(self: Box<Self>, up: Arc<dyn Uplink>, stop: CancellationToken) -> Result<(), ModuleError> {
        let parts = self.together().await;
        parts.receiver.open(&up).await?;
        if parts.is_passive {
            stop.cancelled().await;
            return Ok(());
        }
        parts.module.run(up, stop).await
    }

    async fn run_once(self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        let parts = self.together().await;
        parts.receiver.open(&up).await?;
        parts.module.run_once(up).await
    }
}
