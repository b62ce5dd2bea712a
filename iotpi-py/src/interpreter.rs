//! The gate through which threads that are not Python's enter the interpreter.
//!
//! Before 3.14 CPython ends such a thread with `pthread_exit` when it asks for the interpreter while that is shutting
//! down. Rust's frames are then unwound without the interpreter, and dropping a Python object crashes the process. So the
//! gate is closed at exit, and exit waits until everybody is out.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pyo3::{intern, prelude::*, wrap_pyfunction};

/// How long exit waits for a function that does not come back.
const PATIENCE: Duration = Duration::from_secs(1);

struct Gate {
    closed: bool,
    inside: usize,
}

static GATE: Mutex<Gate> = Mutex::new(Gate { closed: false, inside: 0 });
static LEFT: Condvar = Condvar::new();

fn gate() -> MutexGuard<'static, Gate> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves the gate also when the function panics.
struct Inside;

impl Drop for Inside {
    fn drop(&mut self) {
        gate().inside -= 1;
        LEFT.notify_all();
    }
}

/// Calls `inside` with the interpreter; nothing when the interpreter is ending.
pub fn enter<T>(inside: impl FnOnce(Python<'_>) -> T) -> Option<T> {
    {
        let mut gate = gate();
        if gate.closed {
            return None;
        }
        gate.inside += 1;
    }
    let _inside = Inside;
    Python::try_attach(inside)
}

#[pyfunction]
fn close(py: Python<'_>) {
    py.detach(|| {
        let mut gate = gate();
        gate.closed = true;
        // What does not come back in time waits in Python, asleep; most often it never wakes.
        drop(LEFT.wait_timeout_while(gate, PATIENCE, |gate| gate.inside > 0));
    });
}

/// Closes the gate when the interpreter ends.
pub fn close_at_exit(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let close = wrap_pyfunction!(close, module)?;
    py.import(intern!(py, "atexit"))?.call_method1(intern!(py, "register"), (close,))?;
    Ok(())
}
