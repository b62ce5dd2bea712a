//! The threads on which requests and modules run.

use std::{
    process,
    sync::{Mutex, PoisonError},
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use tokio::runtime::{Builder, Handle, Runtime};

/// One drives the sockets while the other may be waiting for the interpreter.
const WORKERS: usize = 2;

static RUNTIME: Mutex<Option<(u32, Runtime)>> = Mutex::new(None);

/// The process's runtime, started on first use. It lives until the process ends.
///
/// Threads do not survive a fork, so a forked child starts its own; the parent's is forgotten there, not dropped,
/// because dropping it would wait for threads that are not there.
pub fn handle() -> PyResult<Handle> {
    let mut held = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((owner, runtime)) = held.as_ref()
        && *owner == process::id()
    {
        return Ok(runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("iotpi")
        .enable_all()
        .build()
        .map_err(|e| PyRuntimeError::new_err(format!("iotpi could not start its threads: {e}")))?;
    let handle = runtime.handle().clone();
    std::mem::forget(held.replace((process::id(), runtime)));
    Ok(handle)
}
