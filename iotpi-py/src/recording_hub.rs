//! A hub for tests of modules: it records their requests, in this process and without a network.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use iotpi_core::{ActionName, ModuleId, Reading, testing::RecordingUplink};
use pyo3::{prelude::*, types::PyBytes};
use serde_json::{Map, Value};

use crate::{
    arguments::{id, seconds},
    failure::{Failure, invalid},
    pending::{Answer, Pending},
};

/// The recorded requests of all modules. Wire types are JSON.
#[pyclass(module = "iotpi._iotpi", frozen)]
#[derive(Default)]
pub struct RecordingHub {
    modules: Mutex<BTreeMap<ModuleId, RecordingUplink>>,
}

impl RecordingHub {
    /// The uplink of a module.
    pub fn uplink(&self, module: ModuleId) -> RecordingUplink {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.entry(module.clone()).or_insert_with(|| RecordingUplink::new(module)).clone()
    }

    fn all(&self) -> Vec<RecordingUplink> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[pymethods]
impl RecordingHub {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// The readings of all modules, as a JSON array.
    fn readings(&self) -> PyResult<String> {
        let readings: Vec<Reading> = self.all().iter().flat_map(RecordingUplink::readings).collect();
        Ok(to_json(&readings)?)
    }

    /// The manifest that a module registered last, as a JSON object.
    fn manifest(&self, module: &str) -> PyResult<Option<String>> {
        let manifests = self.uplink(id(module)?).manifests();
        Ok(manifests.last().map(to_json).transpose()?)
    }

    /// The states that a module reported, as a JSON array.
    fn states(&self, module: &str) -> PyResult<String> {
        let reports = self.uplink(id(module)?).reports();
        let states: Vec<_> = reports.into_iter().filter_map(|report| report.state).collect();
        Ok(to_json(&states)?)
    }

    /// The frames that a module published.
    fn frames<'py>(&self, py: Python<'py>, module: &str) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let frames = self.uplink(id(module)?).frames();
        Ok(frames.iter().map(|frame| PyBytes::new(py, frame.jpeg())).collect())
    }

    /// Queues a command and returns its id. `params` is a JSON object.
    fn command(&self, module: &str, action: &str, params: &str) -> PyResult<String> {
        let params: Map<String, Value> = serde_json::from_str(params).map_err(invalid)?;
        let action: ActionName = id(action)?;
        Ok(self.uplink(id(module)?).command(action.as_str(), params).to_string())
    }

    /// The report of a command's outcome, as a JSON object.
    fn outcome(&self, module: &str, command: String, timeout: f64) -> PyResult<Pending> {
        let uplink = self.uplink(id(module)?);
        let (timeout, limit) = (seconds("timeout", timeout)?, timeout);
        Ok(Pending::new(async move {
            let found = |uplink: &RecordingUplink| {
                let reports = uplink.reports().into_iter().filter_map(|report| report.command);
                reports.into_iter().find(|report| {
                    report.id == *command
                        && report.outcome.state() != iotpi_core::model::command::CommandState::Leased
                })
            };
            within(timeout, limit, uplink.until(|uplink| found(uplink).is_some())).await?;
            Answer::json(&found(&uplink))
        }))
    }

    /// Done when a module has delivered that many readings.
    fn delivered(&self, module: &str, count: usize, timeout: f64) -> PyResult<Pending> {
        let uplink = self.uplink(id(module)?);
        let (timeout, limit) = (seconds("timeout", timeout)?, timeout);
        Ok(Pending::new(async move {
            within(timeout, limit, uplink.until(|uplink| uplink.readings().len() >= count)).await?;
            Ok(Answer::Nothing)
        }))
    }

    /// Makes the hub unreachable for all modules that are known so far, or reachable again.
    fn set_away(&self, away: bool) {
        for uplink in self.all() {
            uplink.set_away(away);
        }
    }
}

async fn within(timeout: Duration, secs: f64, condition: impl Future<Output = ()>) -> Result<(), Failure> {
    let met = tokio::time::timeout(timeout, condition).await;
    met.map_err(|_| Failure::timeout(format!("the module did not do that within {secs} s")))
}

fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(invalid)
}
