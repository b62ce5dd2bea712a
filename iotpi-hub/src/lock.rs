//! Locks: std mutexes, held briefly, never across an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex; a panic in another thread does not invalidate its data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
