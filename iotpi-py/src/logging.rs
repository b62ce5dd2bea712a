//! What the core logs, in Python's `logging`: `iotpi_core::runner` becomes the logger `iotpi.runner`.

use log::{Level, LevelFilter, Log, Metadata, Record};
use pyo3::{intern, prelude::*};

use crate::interpreter;

struct ToPython;

impl Log for ToPython {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("iotpi")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let part = record.target().rsplit("::").next().unwrap_or("core");
        let text = record.args().to_string();
        // Nothing is logged while the interpreter is ending, and a log line is never worth an exception.
        let _ = interpreter::enter(|py| write(py, part, record.level(), &text));
    }

    fn flush(&self) {}
}

fn write(py: Python<'_>, part: &str, level: Level, text: &str) -> PyResult<()> {
    let logger = py
        .import(intern!(py, "logging"))?
        .call_method1(intern!(py, "getLogger"), (format!("iotpi.{part}"),))?;
    logger.call_method1(intern!(py, "log"), (number(level), "%s", text))?;
    Ok(())
}

/// The level's number in Python's logging.
fn number(level: Level) -> u8 {
    match level {
        Level::Error => 40,
        Level::Warn => 30,
        Level::Info => 20,
        Level::Debug | Level::Trace => 10,
    }
}

/// Sends log records to Python from now on; Python's own levels and handlers decide what is seen.
pub fn install() {
    // A second interpreter in this process finds the logger installed: that is fine.
    if log::set_logger(&ToPython).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}
