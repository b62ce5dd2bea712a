//! Long work on a thread of its own, which pauses now and then and ends when nobody waits for it any more.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::task;

use crate::store::{Result, StoreError};

/// The longest pause between two steps.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Whether to go on, and how fast. Clones share the first.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    over: Arc<(Mutex<bool>, Condvar)>,
    hurried: bool,
}

impl Pace {
    /// The same without pauses: everything waits for this work.
    pub(super) fn hurried(&self) -> Self {
        Self { hurried: true, ..self.clone() }
    }

    /// Gives the device as long to others as the step since `began` had it. Answers whether to go on.
    pub(super) fn rest(&self, began: Instant) -> bool {
        let pause = if self.hurried { Duration::ZERO } else { began.elapsed().min(LONGEST_PAUSE) };
        let over = self.over.0.lock().unwrap_or_else(PoisonError::into_inner);
        match self.over.1.wait_timeout_while(over, pause, |over| !*over) {
            Ok((over, _)) => !*over,
            Err(_) => false,
        }
    }

    fn end(&self) {
        *self.over.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over.1.notify_all();
    }
}

/// Does the work on a thread that may block. Dropped, the work is told to end.
pub(super) async fn paced<T: Send + 'static>(
    context: &'static str,
    work: impl FnOnce(&Pace) -> Result<T> + Send + 'static,
) -> Result<T> {
    struct End(Pace);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.end();
        }
    }
    let end = End(Pace::default());
    let pace = end.0.clone();
    task::spawn_blocking(move || work(&pace))
        .await
        .map_err(|error| StoreError::Engine { context, source: error.into() })?
}
