//! What went wrong, on its way to becoming a Python exception. `python/iotpi/errors.py` knows which class is which.

use std::{error::Error, fmt::Display};

use iotpi_core::{ErrorKind, ModuleError, Problem, RunError, UplinkError};
use pyo3::{intern, prelude::*, types::IntoPyDict};

/// A failure that has not met Python yet: it can be made on any thread.
#[derive(Debug)]
pub struct Failure {
    /// A word of [`ErrorKind`], or one of the two that Python tells apart: `timeout`, `module_failed`.
    kind: &'static str,
    detail: String,
    pointer: Option<String>,
    choices: Option<Vec<String>>,
    request_id: Option<String>,
    retry_after: Option<f64>,
}

impl Failure {
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self::of(kind.as_str(), detail.into())
    }

    pub fn timeout(detail: impl Into<String>) -> Self {
        Self::of("timeout", detail.into())
    }

    fn of(kind: &'static str, detail: String) -> Self {
        Self { kind, detail, pointer: None, choices: None, request_id: None, retry_after: None }
    }

    /// The same, pointing at one place (RFC 6901) of what was given.
    pub fn at(mut self, pointer: String) -> Self {
        self.pointer = Some(pointer);
        self
    }
}

/// The caller gave something that is not the shape asked for.
pub fn invalid(error: impl Display) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, error.to_string())
}

/// The caller gave something well-formed that cannot be true.
pub fn unprocessable(error: impl Display) -> Failure {
    Failure::new(ErrorKind::Unprocessable, error.to_string())
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            kind: problem.kind.as_str(),
            detail: problem.detail,
            pointer: problem.pointer,
            choices: problem.choices,
            request_id: problem.request_id,
            retry_after: problem.retry_after_secs,
        }
    }
}

impl From<UplinkError> for Failure {
    fn from(error: UplinkError) -> Self {
        match error {
            UplinkError::Problem(problem) => (*problem).into(),
            UplinkError::Timeout { .. } => Self::timeout(with_causes(&error)),
            other => Self::new(other.kind(), with_causes(&other)),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Refused(error) | RunError::Module(ModuleError::Uplink(error)) => error.into(),
            other => Self::of("module_failed", with_causes(&other)),
        }
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        Python::attach(|py| failure.into_exception(py).unwrap_or_else(|error| error))
    }
}

impl Failure {
    fn into_exception(self, py: Python<'_>) -> PyResult<PyErr> {
        let more = [
            ("pointer", self.pointer.into_pyobject(py)?),
            ("choices", self.choices.into_pyobject(py)?),
            ("request_id", self.request_id.into_pyobject(py)?),
            ("retry_after", self.retry_after.into_pyobject(py)?),
        ]
        .into_py_dict(py)?;
        let errors = py.import(intern!(py, "iotpi.errors"))?;
        let exception = errors.call_method(intern!(py, "error_of"), (self.kind, self.detail), Some(&more))?;
        Ok(PyErr::from_value(exception))
    }
}

/// An error and all that lies below it, in one line.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
