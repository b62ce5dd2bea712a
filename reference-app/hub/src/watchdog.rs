//! Notifies systemd's watchdog while the hub works, and exits a hub whose shutdown hangs.
//!
//! A task of the runtime notifies the watchdog after the writer thread of the store has answered it. A hub
//! whose worker threads are all blocked, or whose writer thread is, sends no notification and is restarted.
//! The writer commits nothing for it.

use std::{sync::mpsc, thread, time::Duration};

use iotpi_hub::{Hub, store::StoreError};
use sd_notify::NotifyState;
use tokio::sync::oneshot;

use crate::serve::tell_systemd;

/// Receives the signal that asks the program to exit. A thread of its own waits for it, because the runtime
/// that serves requests handles no signal while all of its threads are blocked.
///
/// # Errors
/// The error of the system when no thread or file descriptor is available.
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
            // From here on no signal is lost.
            let _ = listening.send(Ok(()));
            signal.await;
            let _ = stop.send(());
        });
    })?;
    listens.recv().map_err(std::io::Error::other)??;
    Ok(stopped)
}

/// Exits the process with code 1 unless it has exited by then. Dropping the returned sender cancels that.
pub fn exit_after(limit: Duration) -> mpsc::Sender<()> {
    let (ended, end) = mpsc::channel::<()>();
    // When no thread is available, the limit of the service manager still applies.
    let _ = thread::Builder::new().name("iotpi-exit".to_owned()).spawn(move || {
        if end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("iotpi-hub: it did not end in time and exits; acknowledged readings are kept");
            std::process::exit(1);
        }
    });
    ended
}

/// Notifies the watchdog three times per interval, if systemd has one for this process.
pub fn feed(hub: &Hub) {
    if let Some(interval) = sd_notify::watchdog_enabled() {
        // Spawned, because the thread that waits for the shutdown is not a worker thread.
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
            // A store that answers with an error is alive; a permanent failure exits the process by itself.
            Ok(()) | Err(_) => tell_systemd(NotifyState::Watchdog),
        }
    }
}
