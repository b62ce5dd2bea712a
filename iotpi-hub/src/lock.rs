//! Locks: std ones, held for moments, never across an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock held for a moment; a panic elsewhere does not spoil what it guards.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
