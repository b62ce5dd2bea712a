//! Keeps systemd's watchdog quiet while the hub works, and ends a hub that does not end by itself.
//!
//! The watchdog is fed by a task of the runtime, after the store's writer has answered it. A hub whose worker threads are all
//! blocked, or whose writer is, feeds it no more and is restarted. The writer commits nothing for it.

use std::{sync::mpsc, thread, time::Duration};

use iotpi_hub::{Hub, store::StoreError};
use sd_notify::NotifyState;
use tokio::sync::oneshot;

use crate::serve::tell_systemd;

/// What becomes of a signal that asks the program to end: it is awaited on a thread of its own, because the runtime that serves
/// notices no signal while all of its threads are blocked.
///
/// # Errors
/// The system's, when it has no thread or no file descriptor left.
pub fn stop_signal() -> std::io::Result<oneshot::Receiver<()>> {
    let (stop, stopped) = oneshot::channel();
    let (listening, listens) = mpsc::channel();
    thread::Builder::new().name("iotpi-signals".to_owned()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = listening.send(Err(error));
                return;
            }
        };
        runtime.block_on(async {
            let signal = iotpi_core::stop_signal();
            // From here on a signal is not lost.
            let _ = listening.send(Ok(()));
            signal.await;
            let _ = stop.send(());
        });
    })?;
    listens.recv().map_err(std::io::Error::other)??;
    Ok(stopped)
}

/// Ends the process with exit code 1 unless it has ended by then. Dropped, the answer calls it off.
pub fn exit_after(limit: Duration) -> mpsc::Sender<()> {
    let (ended, end) = mpsc::channel::<()>();
    // Without a thread to be had, the service manager's own limit remains.
    let _ = thread::Builder::new().name("iotpi-exit".to_owned()).spawn(move || {
        if end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("iotpi-hub: it did not end in time and exits; acknowledged readings are kept");
            std::process::exit(1);
        }
    });
    ended
}

/// Feeds the watchdog three times in its interval, if systemd has one on this process.
pub fn feed(hub: &Hub) {
    if let Some(interval) = sd_notify::watchdog_enabled() {
        // Not on the thread that waits for the end: it is no worker.
        tokio::spawn(feed_every(hub.clone(), interval / 3));
    }
}

async fn feed_every(hub: Hub, pause: Duration) {
    let mut due = tokio::time::interval(pause.max(Duration::from_millis(1)));
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        match hub.store().check().await {
            Err(StoreError::Closed) => return,
            // A store that answers with an error is alive; what failed for good ends the process by itself.
            Ok(()) | Err(_) => tell_systemd(NotifyState::Watchdog),
        }
    }
}
