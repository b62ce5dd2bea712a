//! Long work on a thread of its own, which pauses regularly and ends when its caller is dropped.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::task;

use crate::store::{Result, StoreError};

/// The maximum pause between two steps.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The speed of the work, and whether it was cancelled. Clones share the cancellation.
#[derive(Debug, Clone, Default)]
pub(super) struct Throttle {
    cancelled: Arc<(Mutex<bool>, Condvar)>,
    unthrottled: bool,
}

impl Throttle {
    /// A throttle without pauses, for work that everything else waits for.
    pub(super) fn unthrottled(&self) -> Self {
        Self { unthrottled: true, ..self.clone() }
    }

    /// Pauses for as long as the step since `began` took, so that others can use the device. Returns whether
    /// to continue.
    pub(super) fn pause(&self, began: Instant) -> bool {
        let pause = if self.unthrottled { Duration::ZERO } else { began.elapsed().min(LONGEST_PAUSE) };
        let cancelled = self.cancelled.0.lock().unwrap_or_else(PoisonError::into_inner);
        match self.cancelled.1.wait_timeout_while(cancelled, pause, |cancelled| !*cancelled) {
            Ok((cancelled, _)) => !*cancelled,
            Err(_) => false,
        }
    }

    fn cancel(&self) {
        *self.cancelled.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.cancelled.1.notify_all();
    }
}

/// Runs the work on a blocking thread. The work is cancelled when the future is dropped.
pub(super) async fn throttled<T: Send + 'static>(
    context: &'static str,
    work: impl FnOnce(&Throttle) -> Result<T> + Send + 'static,
) -> Result<T> {
    struct CancelOnDrop(Throttle);
    impl Drop for CancelOnDrop {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let end = CancelOnDrop(Throttle::default());
    let throttle = end.0.clone();
    task::spawn_blocking(move || work(&throttle))
        .await
        .map_err(|error| StoreError::Engine { context, source: error.into() })?
}
