//! The native half of the Python package `iotpi`: the core's client and module runner, seen from Python.
//!
//! It is thin on purpose. Wire types cross the border as the JSON they are on the wire, and `python/iotpi` makes typed
//! objects of them; requests cross as [`pending::Pending`], which the sync client waits for and the asyncio client
//! starts. Deliberately absent: rules of any kind, and anything a user would name; that is the Python half's.
#![allow(missing_debug_implementations, reason = "its types are Python classes, which have a `repr`")]

use pyo3::prelude::*;

mod arguments;
mod failure;
mod frame_publisher;
mod hub;
mod interpreter;
mod logging;
mod module;
mod pages;
mod pending;
mod recorder;
mod recording_hub;
mod runner;
mod runtime;
mod stream;

#[pymodule]
mod _iotpi {
    use iotpi_core::{Quantity, SensorType, Unit, model::error::ErrorKind};

    use super::*;
    #[pymodule_export]
    use super::{
        frame_publisher::FramePublisher,
        hub::Hub,
        pages::Pages,
        pending::{Pending, Started},
        recorder::Recorder,
        recording_hub::RecordingHub,
        runner::Runner,
        stream::Stream,
    };

    /// The quantities that have a unit of their own.
    const QUANTITIES: [Quantity; 10] = [
        Quantity::Temperature,
        Quantity::Humidity,
        Quantity::Pressure,
        Quantity::Illuminance,
        Quantity::Voltage,
        Quantity::Current,
        Quantity::Power,
        Quantity::Distance,
        Quantity::Co2,
        Quantity::Motion,
    ];

    /// The unit a series is kept in: a named quantity's own, else the given one.
    #[pyfunction]
    #[pyo3(signature = (sensor, unit=None))]
    fn canonical_unit(sensor: &str, unit: Option<&str>) -> PyResult<String> {
        let sensor = SensorType::new(sensor).map_err(failure::invalid)?;
        let unit = unit.map(Unit::parse).transpose().map_err(failure::invalid)?;
        Ok(module::series(sensor, unit)?.0.unit().as_str().to_owned())
    }

    /// Refuses a text that is not an id.
    #[pyfunction]
    fn check_id(text: &str) -> PyResult<()> {
        iotpi_core::ModuleId::new(text).map(drop).map_err(|e| failure::invalid(e).into())
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        interpreter::close_at_exit(module)?;
        logging::install();
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("QUANTITIES", QUANTITIES.each_ref().map(Quantity::name_str).to_vec())?;
        module.add("ERROR_KINDS", ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>())
    }
}
