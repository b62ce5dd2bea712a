//! The upload of a camera's frames on one connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use iotpi_core::{
    Clock, SystemClock,
    client::{HubUplink, PublisherState},
};
use pyo3::{exceptions::PyValueError, prelude::*};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::{frame, moment},
    failure::Failure,
    pending::{Answer, Pending},
    runtime,
};

/// The time that sending the last frame may take after the publisher was closed.
const LAST_FRAME: std::time::Duration = std::time::Duration::from_secs(1);

/// An upload in progress. It ends when it is closed or garbage-collected.
#[pyclass(module = "iotpi._iotpi", frozen)]
pub struct FramePublisher {
    publisher: Mutex<Option<Arc<iotpi_core::client::FramePublisher>>>,
    state: watch::Receiver<PublisherState>,
    upload: Mutex<Option<JoinHandle<()>>>,
    closed: CancellationToken,
}

impl FramePublisher {
    /// Starts the upload in the background.
    pub fn start(uplink: HubUplink) -> PyResult<Self> {
        let (publisher, frames) = iotpi_core::client::FramePublisher::channel();
        let upload = runtime::handle()?.spawn(async move { frames.forward_to(&uplink).await });
        Ok(Self {
            state: publisher.changes(),
            publisher: Mutex::new(Some(Arc::new(publisher))),
            upload: Mutex::new(Some(upload)),
            closed: CancellationToken::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<iotpi_core::client::FramePublisher>>> {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl FramePublisher {
    fn publish(&self, jpeg: &[u8], timestamp: Option<f64>, sequence: Option<u64>) -> PyResult<()> {
        let captured_at = timestamp.map(moment).transpose()?.unwrap_or_else(|| SystemClock::new().now());
        let mut frame = frame(Bytes::copy_from_slice(jpeg), captured_at)?;
        if let Some(sequence) = sequence {
            frame = frame.numbered(sequence);
        }
        match &*self.lock() {
            Some(publisher) => publisher.publish(frame),
            None => return Err(PyValueError::new_err("the publisher is closed")),
        }
        Ok(())
    }

    /// `true` when the next frame is wanted, `false` when the publisher was closed.
    fn wait_for_demand(&self) -> Pending {
        let (publisher, closed) = (self.lock().clone(), self.closed.clone());
        Pending::new(async move {
            let demand = match &publisher {
                Some(publisher) => closed.run_until_cancelled(publisher.demand()).await.is_some(),
                None => false,
            };
            Answer::json(&demand)
        })
    }

    #[getter]
    fn viewers(&self) -> u32 {
        self.state.borrow().viewers
    }

    #[getter]
    fn online(&self) -> bool {
        self.state.borrow().online
    }

    #[getter]
    fn refused(&self) -> u64 {
        self.state.borrow().refused
    }

    #[getter]
    fn error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let error = self.state.borrow().error.clone()?;
        Some(PyErr::from(Failure::from(&*error)).into_value(py).into_any())
    }

    /// Ends the upload. The last frame is still sent if that takes at most a second.
    fn close(&self) -> Pending {
        self.closed.cancel();
        drop(self.lock().take());
        let upload = self.upload.lock().unwrap_or_else(PoisonError::into_inner).take();
        Pending::new(async move {
            if let Some(mut upload) = upload
                && tokio::time::timeout(LAST_FRAME, &mut upload).await.is_err()
            {
                upload.abort();
            }
            Ok(Answer::Nothing)
        })
    }
}
