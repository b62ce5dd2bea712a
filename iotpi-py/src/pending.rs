//! A request under way: the one place where the interpreter is released and failures become exceptions.

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyBytes};
use serde::Serialize;
use tokio::task::AbortHandle;

use crate::{failure::Failure, interpreter, runtime, stream::Stream};

/// How often a waiting main thread looks for Ctrl-C and other signals.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);

/// What comes back.
pub enum Answer {
    /// A wire type, as it is on the wire.
    Json(String),
    /// A picture.
    Bytes(Bytes),
    /// An opened stream.
    Stream(Stream),
    /// Nothing, or nothing more.
    Nothing,
}

impl Answer {
    /// A wire type as JSON.
    pub fn json(value: &impl Serialize) -> Result<Self, Failure> {
        serde_json::to_string(value).map(Self::Json).map_err(crate::failure::invalid)
    }

    fn into_object(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Self::Json(text) => text.into_pyobject(py)?.into_any().unbind(),
            Self::Bytes(bytes) => PyBytes::new(py, &bytes).into_any().unbind(),
            Self::Stream(stream) => Py::new(py, stream)?.into_any(),
            Self::Nothing => py.None(),
        })
    }
}

type Work = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send>>;

/// Work that begins when it is waited for or started, which may happen once.
#[pyclass(module = "iotpi._iotpi", frozen)]
pub struct Pending {
    work: Mutex<Option<Work>>,
}

impl Pending {
    pub fn new(work: impl Future<Output = Result<Answer, Failure>> + Send + 'static) -> Self {
        Self { work: Mutex::new(Some(Box::pin(work))) }
    }

    fn take(&self) -> PyResult<Work> {
        let taken = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.ok_or_else(|| PyRuntimeError::new_err("this was waited for already"))
    }
}

#[pymethods]
impl Pending {
    /// Blocks until it is done, with the interpreter released. A signal handler that raises ends it.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mut work = self.take()?;
        let runtime = runtime::handle()?;
        // Work that is given up is dropped inside the runtime it belongs to.
        let _inside = runtime.enter();
        loop {
            let turn =
                py.detach(|| runtime.block_on(async { tokio::time::timeout(SIGNAL_CHECK, &mut work).await }));
            match turn {
                Ok(done) => return done?.into_object(py),
                Err(_) => py.check_signals()?,
            }
        }
    }

    /// Lets it run and calls `done(value, error)`, one of them `None`, on a thread of the runtime.
    fn start(&self, done: Py<PyAny>) -> PyResult<Started> {
        let work = self.take()?;
        let task = runtime::handle()?.spawn(async move {
            let ended = work.await;
            // While the interpreter is ending no callback can run.
            interpreter::enter(|py| {
                let called = match ended.map_err(PyErr::from).and_then(|answer| answer.into_object(py)) {
                    Ok(value) => done.call1(py, (value, py.None())),
                    Err(error) => done.call1(py, (py.None(), error)),
                };
                if let Err(error) = called {
                    error.write_unraisable(py, None);
                }
            });
        });
        Ok(Started { task: task.abort_handle() })
    }
}

/// Work that was started.
#[pyclass(module = "iotpi._iotpi", frozen)]
pub struct Started {
    task: AbortHandle,
}

#[pymethods]
impl Started {
    /// Gives it up; `done` is then not called. Nothing happens when it is done already.
    fn cancel(&self) {
        self.task.abort();
    }
}
