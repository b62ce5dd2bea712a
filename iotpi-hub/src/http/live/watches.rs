//! The cameras that one live client watches, and the choice of the next frame.
//!
//! A frame is taken from its camera only when the connection is free to send it, so it is the newest one at that time.
//! Deliberately absent: a queue. While the connection is busy, or a camera waits for an acknowledgement or for its interval, no
//! frame of it is held.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use iotpi_core::{ModuleId, model::event::WatchRequest};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::ReusableBoxFuture;

use crate::{
    error::HubError,
    frames::{PublishedFrame, Viewer},
};

/// Maximum number of unacknowledged frames of a camera: one is drawn while the next one is being sent.
const MAX_IN_FLIGHT: usize = 2;
/// The longest interval between two frames.
const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The next event for the client.
#[derive(Debug)]
pub(super) enum Next {
    /// The newest frame of a camera.
    Frame(ModuleId, Arc<PublishedFrame>),
    /// A camera was removed and is no longer watched.
    Removed(ModuleId),
}

/// The cameras of one client.
#[derive(Debug)]
pub(super) struct WatchedCameras {
    cameras: Vec<Watched>,
    /// Index of the camera that is polled first.
    turn: usize,
    timer: Pin<Box<Sleep>>,
}

#[derive(Debug)]
struct Watched {
    module_id: ModuleId,
    /// Average interval between two frames.
    interval: Duration,
    /// The time at which the next frame may be sent.
    due: Instant,
    /// Numbers of the frames that were sent and not acknowledged.
    in_flight: Vec<u64>,
    /// The viewer's wait for its next frame. One allocation is reused for all frames.
    waiting: ReusableBoxFuture<'static, (Viewer, Option<Arc<PublishedFrame>>)>,
}

impl WatchedCameras {
    pub(super) fn new() -> Self {
        Self { cameras: Vec::new(), turn: 0, timer: Box::pin(sleep(Duration::ZERO)) }
    }

    /// Replaces the list. Cameras that were in it continue; new ones are opened. Returns the errors of those that could not be
    /// opened, with their index in the list.
    pub(super) fn replace(
        &mut self,
        requested: Vec<WatchRequest>,
        open: impl Fn(&ModuleId) -> Result<Viewer, HubError>,
    ) -> Vec<(usize, HubError)> {
        let mut refused = Vec::new();
        let mut previous = std::mem::take(&mut self.cameras);
        self.turn = 0;
        let now = Instant::now();
        for (i, WatchRequest { module_id, max_fps, .. }) in requested.into_iter().enumerate() {
            let interval = max_fps.map_or(Duration::ZERO, interval);
            if let Some(at) = previous.iter().position(|watched| watched.module_id == module_id) {
                let mut kept = previous.swap_remove(at);
                kept.interval = interval;
                kept.due = kept.due.min(now + interval);
                self.cameras.push(kept);
                continue;
            }
            match open(&module_id) {
                Ok(viewer) => {
                    let waiting = ReusableBoxFuture::new(next_frame(viewer));
                    let in_flight = Vec::with_capacity(MAX_IN_FLIGHT);
                    self.cameras.push(Watched { module_id, interval, due: now, in_flight, waiting });
                }
                Err(error) => refused.push((i, error)),
            }
        }
        refused
    }

    /// The client has drawn this frame, so it and all earlier ones are acknowledged. Returns whether the frame was in flight; any
    /// other number is ignored.
    pub(super) fn acknowledge(&mut self, module_id: &ModuleId, seq: u64) -> bool {
        let watched = self.cameras.iter_mut().find(|watched| watched.module_id == *module_id);
        match watched {
            Some(watched) if watched.in_flight.contains(&seq) => {
                watched.in_flight.retain(|&in_flight| in_flight > seq);
                true
            }
            _ => false,
        }
    }

    /// Waits for the next frame that may be sent, of the cameras in turn. Call it only when the connection is free: the frame
    /// counts as sent.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Next {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Polls each camera that may send: up to 64 reads of an atomic, and no allocation.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        if self.cameras.is_empty() {
            return Poll::Pending;
        }
        loop {
            let now = Instant::now();
            let mut earliest: Option<Instant> = None;
            for step in 0..self.cameras.len() {
                let at = (self.turn + step) % self.cameras.len();
                let watched = &mut self.cameras[at];
                if watched.in_flight.len() >= MAX_IN_FLIGHT {
                    continue;
                }
                if watched.due > now {
                    earliest = Some(earliest.map_or(watched.due, |earliest| earliest.min(watched.due)));
                    continue;
                }
                let Poll::Ready((viewer, frame)) = watched.waiting.poll(context) else { continue };
                self.turn = at + 1;
                let Some(frame) = frame else {
                    return Poll::Ready(Next::Removed(self.cameras.swap_remove(at).module_id));
                };
                watched.waiting.set(next_frame(viewer));
                watched.in_flight.push(frame.seq);
                watched.schedule_next(now);
                return Poll::Ready(Next::Frame(watched.module_id.clone(), frame));
            }
            let Some(earliest) = earliest else { return Poll::Pending };
            if self.timer.deadline() != earliest {
                self.timer.as_mut().reset(earliest);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Watched {
    /// Schedules the next frame. The average interval is kept although timers have a resolution of a millisecond, but two frames
    /// are never close together.
    fn schedule_next(&mut self, now: Instant) {
        self.due = (self.due + self.interval).max(now + self.interval / 2);
    }
}

fn interval(max_fps: f64) -> Duration {
    Duration::try_from_secs_f64(max_fps.recip()).unwrap_or(MAX_INTERVAL).min(MAX_INTERVAL)
}

async fn next_frame(mut viewer: Viewer) -> (Viewer, Option<Arc<PublishedFrame>>) {
    let frame = viewer.next().await;
    (viewer, frame)
}

#[cfg(test)]
mod tests;
