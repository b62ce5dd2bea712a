//! Python functions as devices: what a module measures, does and sees.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use iotpi_core::{
    Action, ActionSpec, Actuator, Camera, CameraSpec, Clock, DeviceError, DeviceErrorKind, Frame, Quantity,
    Sample, Sensor, SensorType, SystemClock, Unit, model::reading::SeriesSpec,
};
use pyo3::{
    call::PyCallArgs,
    exceptions::{PyFileNotFoundError, PyPermissionError, PyTimeoutError},
    intern,
    prelude::*,
};
use serde_json::{Map, Value};
use tokio::time::{Interval, MissedTickBehavior};

use crate::{
    arguments::id,
    failure::{Failure, invalid, unprocessable},
    interpreter,
};

/// A Python function that blocks until it has a result. It is called on a thread that may be blocked.
pub struct Function(Arc<Py<PyAny>>);

impl Function {
    pub fn new(callable: Py<PyAny>) -> Self {
        Self(Arc::new(callable))
    }

    /// Calls it; an exception becomes a device error.
    async fn call<A, T>(&self, args: A) -> Result<T, DeviceError>
    where
        A: for<'py> PyCallArgs<'py> + Send + 'static,
        T: for<'a, 'py> FromPyObject<'a, 'py> + Send + 'static,
    {
        let callable = self.0.clone();
        let called = tokio::task::spawn_blocking(move || {
            interpreter::enter(|py| {
                let result =
                    callable.call1(py, args).and_then(|result| result.extract(py).map_err(Into::into));
                result.map_err(|error: PyErr| device_error(py, &error))
            })
        });
        let ending = || DeviceError::new(DeviceErrorKind::Other, "Python is ending");
        called.await.map_err(|_| ending())?.unwrap_or_else(|| Err(ending()))
    }
}

/// The exception in words, with the kind its class tells.
fn device_error(py: Python<'_>, error: &PyErr) -> DeviceError {
    let refused = py
        .import(intern!(py, "iotpi.errors"))
        .and_then(|errors| errors.getattr(intern!(py, "Refused")))
        .is_ok_and(|refused| error.matches(py, refused).unwrap_or(false));
    let kind = if refused {
        return DeviceError::new(DeviceErrorKind::Refused, error.value(py).to_string());
    } else if error.is_instance_of::<PyTimeoutError>(py) {
        DeviceErrorKind::Timeout
    } else if error.is_instance_of::<PyPermissionError>(py) {
        DeviceErrorKind::PermissionDenied
    } else if error.is_instance_of::<PyFileNotFoundError>(py) {
        DeviceErrorKind::NotFound
    } else {
        DeviceErrorKind::Other
    };
    DeviceError::new(kind, error.to_string())
}

/// A series as Python declares it: type, channel, unit.
pub type SeriesPart = (String, Option<String>, Option<String>);
/// A sample as Python gives it: type, channel, value, unit, reason for a missing value.
pub type SamplePart = (String, Option<String>, Option<f64>, Option<String>, String);

/// A function that measures the quantities of one sensor.
pub struct Measuring {
    series: Vec<SeriesSpec>,
    function: Function,
}

impl Measuring {
    pub fn new(series: Vec<SeriesPart>, function: Function) -> Result<Self, Failure> {
        let series = series.into_iter().map(declared).collect::<Result<_, _>>()?;
        Ok(Self { series, function })
    }
}

/// The series that Python declares.
pub fn declared((name, channel, unit): SeriesPart) -> Result<SeriesSpec, Failure> {
    let unit = unit.as_deref().map(Unit::parse).transpose().map_err(invalid)?;
    on_channel(series(id(&name)?, unit)?.0, channel)
}

fn on_channel(quantity: Quantity, channel: Option<String>) -> Result<SeriesSpec, Failure> {
    let series = SeriesSpec::new(quantity);
    Ok(match channel {
        Some(channel) => series.with_channel(id(&channel)?),
        None => series,
    })
}

/// The sample that Python gives, in the unit of its quantity.
pub fn sample((name, channel, value, unit, reason): SamplePart) -> Result<Sample, Failure> {
    let unit = unit.as_deref().map(Unit::parse).transpose().map_err(invalid)?;
    let (quantity, unit) = series(id(&name)?, unit)?;
    let value = value.and_then(|value| quantity.unit().of(value, &unit));
    let series = on_channel(quantity, channel)?;
    Ok(match value {
        Some(value) => Sample::new(series, value),
        None => Sample::no_data(series, reason),
    })
}

/// The quantity of a series and the unit its values are given in, if one can become the other.
pub fn series(sensor: SensorType, unit: Option<Unit>) -> Result<(Quantity, Unit), Failure> {
    let quantity = match (Quantity::named(&sensor), &unit) {
        (Some(named), _) => named,
        (None, Some(unit)) => Quantity::new(sensor, unit.clone()),
        (None, None) => return Err(invalid(format!("`{sensor}` is a series of your own: say its unit"))),
    };
    let unit = unit.unwrap_or_else(|| quantity.unit());
    if quantity.unit().of(0.0, &unit).is_none() {
        let units = quantity.unit().alternatives().join(", ");
        return Err(unprocessable(format!(
            "{} cannot be measured in `{unit}`; use {units}",
            quantity.name()
        )));
    }
    Ok((quantity, unit))
}

#[async_trait]
impl Sensor for Measuring {
    fn quantities(&self) -> Vec<Quantity> {
        self.series.iter().map(|one| one.quantity.clone()).collect()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.series.clone()
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let samples: Vec<SamplePart> = self.function.call(()).await?;
        let wrong = |failure: Failure| DeviceError::new(DeviceErrorKind::Other, failure.to_string());
        samples.into_iter().map(sample).collect::<Result<_, _>>().map_err(wrong)
    }
}

/// Functions that do actions. Parameters, results and state cross the border as JSON.
pub struct Acting {
    actions: Vec<(ActionSpec, Function)>,
    report_state: Option<Function>,
    make_safe: Option<Function>,
    state: Map<String, Value>,
}

impl Acting {
    pub fn new(
        actions: Vec<(ActionSpec, Function)>,
        report_state: Option<Function>,
        make_safe: Option<Function>,
    ) -> Self {
        Self { actions, report_state, make_safe, state: Map::new() }
    }

    /// Whether there is anything for it to do.
    pub fn is_idle(&self) -> bool {
        self.actions.is_empty() && self.report_state.is_none() && self.make_safe.is_none()
    }

    /// Asks the module for its state. A failure is logged, and the previous state is kept: it
    /// does not make the action a failure.
    pub async fn look_at_state(&mut self) {
        let Some(function) = &self.report_state else { return };
        match function.call::<_, String>(()).await.and_then(|text| from_json(&text)) {
            Ok(state) => self.state = state,
            Err(error) => tracing::warn!(%error, "the module could not tell its state"),
        }
    }
}

#[async_trait]
impl Actuator for Acting {
    fn actions(&self) -> Vec<ActionSpec> {
        self.actions.iter().map(|(spec, _)| spec.clone()).collect()
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        let Some((_, function)) = self.actions.iter().find(|(spec, _)| spec.name == action.name) else {
            let text = format!("there is no action `{}`", action.name);
            return Err(DeviceError::new(DeviceErrorKind::Refused, text));
        };
        let params = Value::Object(action.params.clone()).to_string();
        let result = function.call::<_, String>((params,)).await;
        self.look_at_state().await;
        from_json(&result?)
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        match &self.make_safe {
            // What the function returns means nothing.
            Some(function) => function.call::<_, Option<bool>>(()).await.map(drop),
            None => Ok(()),
        }
    }

    fn state(&self) -> Map<String, Value> {
        self.state.clone()
    }
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, DeviceError> {
    serde_json::from_str(text).map_err(|e| DeviceError::new(DeviceErrorKind::Other, e.to_string()))
}

/// A function that takes pictures, called at most `fps` times a second.
pub struct Seeing {
    spec: CameraSpec,
    function: Function,
    rhythm: Option<Interval>,
}

impl Seeing {
    pub fn new(spec: CameraSpec, function: Function) -> Self {
        Self { spec, function, rhythm: None }
    }

    /// Waits for the next beat; the rhythm begins with the first picture.
    async fn beat(&mut self) {
        let period = Duration::from_secs_f64(1.0 / self.spec.fps);
        let rhythm = self.rhythm.get_or_insert_with(|| {
            let mut rhythm = tokio::time::interval(period);
            rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
            rhythm
        });
        rhythm.tick().await;
    }
}

#[async_trait]
impl Camera for Seeing {
    fn spec(&self) -> CameraSpec {
        self.spec
    }

    async fn capture(&mut self) -> Result<Frame, DeviceError> {
        self.beat().await;
        let jpeg: Vec<u8> = self.function.call(()).await?;
        Frame::from_jpeg(Bytes::from(jpeg), SystemClock::new().now())
            .map_err(|error| DeviceError::new(DeviceErrorKind::OutOfRange, error.to_string()))
    }
}
