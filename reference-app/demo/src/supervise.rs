//! Restarts a child that crashed, with a growing back-off.

use std::time::Duration;

use iotpi_core::client::Backoff;
use tokio::{process::Command, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::child::{Running, log_line};

/// A child that ran this long did not crash because of its start.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// The back-off between restarts of a child.
pub fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(250), Duration::from_secs(15))
}

/// Keeps a child running until `stop` is cancelled, then stops it within the timeout.
pub async fn keep_running(
    name: &'static str,
    mut command: Command,
    stop: CancellationToken,
    within: Duration,
) {
    let mut backoff = backoff();
    while !stop.is_cancelled() {
        let started_at = Instant::now();
        let how = match Running::start(name, &mut command, None) {
            Ok(mut running) => {
                let pid = running.id().unwrap_or_default();
                log_line(format!("iotpi-demo: {name} runs as process {pid}"));
                tokio::select! {
                    () = stop.cancelled() => return running.end(name, within).await,
                    ended = running.ended() => match ended {
                        Ok(status) => format!("ended ({status})"),
                        Err(error) => format!("{error:#}"),
                    },
                }
            }
            Err(error) => format!("{error:#}"),
        };
        if started_at.elapsed() >= STABLE_AFTER {
            backoff.succeeded();
        }
        let wait = backoff.failed();
        log_line(format!("iotpi-demo: {name} {how}; it is started again in {:.1} s", wait.as_secs_f64()));
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}
