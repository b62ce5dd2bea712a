//! What went wrong, on its way to becoming a Python exception. `python/iotpi/errors.py` knows which class is which.

use std::{error::Error, fmt::Display, io};

use iotpi_core::{
    ModuleError, UplinkError,
    model::error::{ErrorKind, Problem},
    module::RunError,
};
use pyo3::{exceptions::PyOSError, intern, prelude::*, types::PyDict};

/// A failure that has not met Python yet: it can be made on any thread.
#[derive(Debug)]
pub enum Failure {
    /// The hub said so.
    Hub(Box<Problem>),
    /// It was found on this side.
    Here {
        /// A word of [`ErrorKind`], or one of the two that Python tells apart: `timeout`, `module_failed`.
        kind: &'static str,
        detail: String,
        /// The place in what was given that is at fault (RFC 6901).
        pointer: Option<String>,
        /// The error of the operating system that caused it: its number, if it has one, and its text.
        os_error: Option<(Option<i32>, String)>,
    },
}

impl Failure {
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self::of(kind.as_str(), detail.into())
    }

    pub fn timeout(detail: impl Into<String>) -> Self {
        Self::of("timeout", detail.into())
    }

    fn of(kind: &'static str, detail: String) -> Self {
        Self::Here { kind, detail, pointer: None, os_error: None }
    }

    /// The same, pointing at one place of what was given.
    pub fn at(self, place: String) -> Self {
        match self {
            Self::Here { kind, detail, os_error, .. } => {
                Self::Here { kind, detail, pointer: Some(place), os_error }
            }
            hub => hub,
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hub(problem) => problem.fmt(f),
            Self::Here { detail, .. } => f.write_str(detail),
        }
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

impl From<Box<Problem>> for Failure {
    fn from(problem: Box<Problem>) -> Self {
        Self::Hub(problem)
    }
}

impl From<&UplinkError> for Failure {
    fn from(error: &UplinkError) -> Self {
        match error {
            UplinkError::Problem(problem) => problem.clone().into(),
            UplinkError::Timeout { .. } => Self::timeout(with_causes(error)),
            // The layers between say nothing that a user could act on.
            UplinkError::Unreachable { source, .. } => Self::Here {
                kind: error.kind().as_str(),
                detail: format!("{error}: {}", root_cause(&**source)),
                pointer: None,
                os_error: os_error(&**source),
            },
            other => Self::new(other.kind(), with_causes(other)),
        }
    }
}

impl From<UplinkError> for Failure {
    fn from(error: UplinkError) -> Self {
        (&error).into()
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Refused { source: error, .. } | RunError::Module(ModuleError::Uplink(error)) => {
                error.into()
            }
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
        let more = PyDict::new(py);
        let mut cause = None;
        let (kind, detail) = match self {
            Self::Hub(problem) => {
                more.set_item("pointer", problem.pointer)?;
                more.set_item("choices", problem.choices)?;
                more.set_item("request_id", problem.request_id)?;
                more.set_item("retry_after", problem.retry_after_secs)?;
                (problem.kind.as_str(), problem.detail)
            }
            Self::Here { kind, detail, pointer, os_error } => {
                more.set_item("pointer", pointer)?;
                cause = os_error;
                (kind, detail)
            }
        };
        let errors = py.import(intern!(py, "iotpi.errors"))?;
        let exception = errors.call_method(intern!(py, "error_of"), (kind, detail), Some(&more))?;
        let error = PyErr::from_value(exception);
        // With a number, the constructor returns the subclass for it, such as ConnectionRefusedError.
        error.set_cause(
            py,
            cause.map(|(number, text)| match number {
                Some(number) => PyOSError::new_err((number, text)),
                None => PyOSError::new_err(text),
            }),
        );
        Ok(error)
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

/// The innermost error in words, without the number of the operating system.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(text, _)| text.to_owned())
}

/// The innermost error of the operating system.
fn os_error(error: &(dyn Error + 'static)) -> Option<(Option<i32>, String)> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        found = error.downcast_ref::<io::Error>().or(found);
        next = error.source();
    }
    found.map(|io| (io.raw_os_error(), root_cause(io)))
}
