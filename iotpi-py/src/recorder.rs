//! Readings that a program records when something happens, on their way to the module's outbox.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use iotpi_core::{
    Clock, Reading, Sample, SystemClock, Timestamp, Uplink, UplinkError, model::error::ErrorKind,
};
use pyo3::prelude::*;

use crate::{
    arguments::{finite, moment},
    failure::Failure,
    module::{SamplePart, sample},
    pending::{Answer, Pending},
};

/// The number of readings that wait for the module to run.
const MAX_EARLY: usize = 10_000;

/// The recorder of a module. It keeps readings until the module runs, and passes on later ones at once.
#[pyclass(module = "iotpi._iotpi", frozen)]
pub struct Recorder {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    early: Vec<(Sample, Timestamp)>,
    uplink: Option<Arc<dyn Uplink>>,
}

#[pymethods]
impl Recorder {
    #[new]
    fn new() -> Self {
        Self { state: Arc::default() }
    }

    /// Records one sample; done when it is in the outbox, or waits for the module to run.
    fn record(&self, part: SamplePart, timestamp: Option<f64>) -> PyResult<Pending> {
        finite(part.2)?;
        let sample = sample(part)?;
        let taken_at = timestamp.map(moment).transpose()?.unwrap_or_else(|| SystemClock::new().now());
        let state = self.state.clone();
        Ok(Pending::new(async move {
            let uplink = {
                let mut state = lock(&state);
                let Some(uplink) = state.uplink.clone() else {
                    if state.early.len() == MAX_EARLY {
                        let detail = format!("{MAX_EARLY} readings wait for the module to run");
                        return Err(Failure::new(ErrorKind::Unavailable, detail));
                    }
                    state.early.push((sample, taken_at));
                    return Ok(Answer::Nothing);
                };
                uplink
            };
            uplink.record(vec![Reading::new(uplink.module_id().clone(), sample, taken_at)]).await?;
            Ok(Answer::Nothing)
        }))
    }
}

impl Recorder {
    /// The half of the module that runs.
    pub fn receiver(&self) -> Receiver {
        Receiver { state: self.state.clone() }
    }
}

/// Receives what is recorded while it exists.
pub struct Receiver {
    state: Arc<Mutex<State>>,
}

impl Receiver {
    /// Records the early readings, and all later ones directly.
    pub async fn open(&self, uplink: &Arc<dyn Uplink>) -> Result<(), UplinkError> {
        loop {
            let early = {
                let mut state = lock(&self.state);
                if state.early.is_empty() {
                    state.uplink = Some(uplink.clone());
                    return Ok(());
                }
                mem::take(&mut state.early)
            };
            let module_id = uplink.module_id();
            let reading = |(sample, taken_at)| Reading::new(module_id.clone(), sample, taken_at);
            uplink.record(early.into_iter().map(reading).collect()).await?;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        lock(&self.state).uplink = None;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
