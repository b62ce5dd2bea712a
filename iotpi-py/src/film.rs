//! A camera's pictures pushed on one line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use iotpi_core::{Clock, FilmState, HubUplink, SystemClock};
use pyo3::{exceptions::PyValueError, prelude::*};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::{frame, moment},
    failure::Failure,
    pending::{Answer, Pending},
    runtime,
};

/// How long the last picture may take when the film is closed.
const LAST_PICTURE: std::time::Duration = std::time::Duration::from_secs(1);

/// A film that is being shown. It ends when it is closed or forgotten.
#[pyclass(module = "iotpi._iotpi", frozen)]
pub struct Film {
    film: Mutex<Option<Arc<iotpi_core::Film>>>,
    state: watch::Receiver<FilmState>,
    sending: Mutex<Option<JoinHandle<()>>>,
    closed: CancellationToken,
}

impl Film {
    /// Begins to send, in the background.
    pub fn begin(uplink: HubUplink) -> PyResult<Self> {
        let (film, pictures) = iotpi_core::Film::begin();
        let sending = runtime::handle()?.spawn(async move { pictures.send_over(&uplink).await });
        Ok(Self {
            state: film.changes(),
            film: Mutex::new(Some(Arc::new(film))),
            sending: Mutex::new(Some(sending)),
            closed: CancellationToken::new(),
        })
    }

    fn film(&self) -> MutexGuard<'_, Option<Arc<iotpi_core::Film>>> {
        self.film.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Film {
    fn show(&self, jpeg: &[u8], timestamp: Option<f64>, sequence: Option<u64>) -> PyResult<()> {
        let taken_at = timestamp.map(moment).transpose()?.unwrap_or_else(|| SystemClock::new().now());
        let mut picture = frame(Bytes::copy_from_slice(jpeg), taken_at)?;
        if let Some(sequence) = sequence {
            picture = picture.numbered(sequence);
        }
        match &*self.film() {
            Some(film) => film.show(picture),
            None => return Err(PyValueError::new_err("the film is over: it was closed")),
        }
        Ok(())
    }

    /// `true` when the next picture is wanted, `false` when the film was closed.
    fn wanted(&self) -> Pending {
        let (film, closed) = (self.film().clone(), self.closed.clone());
        Pending::new(async move {
            let wanted = match &film {
                Some(film) => closed.run_until_cancelled(film.wanted()).await.is_some(),
                None => false,
            };
            Answer::json(&wanted)
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

    /// Ends it; the last picture is still sent if that takes no longer than a second.
    fn close(&self) -> Pending {
        self.closed.cancel();
        drop(self.film().take());
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner).take();
        Pending::new(async move {
            if let Some(mut sending) = sending
                && tokio::time::timeout(LAST_PICTURE, &mut sending).await.is_err()
            {
                sending.abort();
            }
            Ok(Answer::Nothing)
        })
    }
}
