//! The cameras one live client watches, and whose picture goes next.
//!
//! A picture is taken from its camera only when the line is free for it, so it is the newest one then. Deliberately absent:
//! a queue. While the line is busy, or a camera waits to be acknowledged or for its time, nothing of it is held.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use iotpi_core::{ModuleId, WatchRequest};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::ReusableBoxFuture;

use crate::{
    error::HubError,
    frames::{PublishedFrame, Viewer},
};

/// So many pictures of a camera are under way to a client: one is painted while the next one travels.
const MOST_UNDER_WAY: usize = 2;
/// Slower than a picture in so long does not get.
const SLOWEST: Duration = Duration::from_secs(24 * 3600);

/// What there is for the client.
#[derive(Debug)]
pub(super) enum Next {
    /// A camera's newest picture.
    Picture(ModuleId, Arc<PublishedFrame>),
    /// A camera was removed and is no longer watched.
    Removed(ModuleId),
}

/// The cameras of one client.
#[derive(Debug)]
pub(super) struct WatchedCameras {
    cameras: Vec<Watched>,
    /// Who is asked first.
    turn: usize,
    timer: Pin<Box<Sleep>>,
}

#[derive(Debug)]
struct Watched {
    module_id: ModuleId,
    /// Between two pictures, on average.
    interval: Duration,
    /// When the next one may go.
    due: Instant,
    /// The numbers of those that were sent and not acknowledged.
    under_way: Vec<u64>,
    /// The viewer waits in it. One allocation is used again for each picture.
    waiting: ReusableBoxFuture<'static, (Viewer, Option<Arc<PublishedFrame>>)>,
}

impl WatchedCameras {
    pub(super) fn new() -> Self {
        Self { cameras: Vec::new(), turn: 0, timer: Box::pin(sleep(Duration::ZERO)) }
    }

    /// Replaces the list. A camera that was in it goes on as it is; one that is new is begun with. What could not be begun
    /// with, by its place in the list; the others stand.
    pub(super) fn replace(
        &mut self,
        wanted: Vec<WatchRequest>,
        begin: impl Fn(&ModuleId) -> Result<Viewer, HubError>,
    ) -> Vec<(usize, HubError)> {
        let mut refused = Vec::new();
        let mut before = std::mem::take(&mut self.cameras);
        self.turn = 0;
        let now = Instant::now();
        for (i, WatchRequest { module_id, max_fps }) in wanted.into_iter().enumerate() {
            let interval = max_fps.map_or(Duration::ZERO, interval);
            if let Some(at) = before.iter().position(|watched| watched.module_id == module_id) {
                let mut kept = before.swap_remove(at);
                kept.interval = interval;
                kept.due = kept.due.min(now + interval);
                self.cameras.push(kept);
                continue;
            }
            match begin(&module_id) {
                Ok(viewer) => {
                    let waiting = ReusableBoxFuture::new(next(viewer));
                    let under_way = Vec::with_capacity(MOST_UNDER_WAY);
                    self.cameras.push(Watched { module_id, interval, due: now, under_way, waiting });
                }
                Err(error) => refused.push((i, error)),
            }
        }
        refused
    }

    /// The client painted that picture, and no longer waits for those before. Whether it was under way; any other number means
    /// nothing.
    pub(super) fn shown(&mut self, module_id: &ModuleId, seq: u64) -> bool {
        let watched = self.cameras.iter_mut().find(|watched| watched.module_id == *module_id);
        match watched {
            Some(watched) if watched.under_way.contains(&seq) => {
                watched.under_way.retain(|&under_way| under_way > seq);
                true
            }
            _ => false,
        }
    }

    /// The next picture that may go, of the cameras in turn. Never ready while there is none. To be asked when the line is
    /// free: it counts as sent.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Next {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Asks each camera that may send: up to 64 looks at an atomic, and no allocation.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        if self.cameras.is_empty() {
            return Poll::Pending;
        }
        loop {
            let now = Instant::now();
            let mut soonest: Option<Instant> = None;
            for step in 0..self.cameras.len() {
                let at = (self.turn + step) % self.cameras.len();
                let watched = &mut self.cameras[at];
                if watched.under_way.len() >= MOST_UNDER_WAY {
                    continue;
                }
                if watched.due > now {
                    soonest = Some(soonest.map_or(watched.due, |soonest| soonest.min(watched.due)));
                    continue;
                }
                let Poll::Ready((viewer, shown)) = watched.waiting.poll(context) else { continue };
                self.turn = at + 1;
                let Some(shown) = shown else {
                    return Poll::Ready(Next::Removed(self.cameras.swap_remove(at).module_id));
                };
                watched.waiting.set(next(viewer));
                watched.under_way.push(shown.seq);
                watched.sent(now);
                return Poll::Ready(Next::Picture(watched.module_id.clone(), shown));
            }
            let Some(soonest) = soonest else { return Poll::Pending };
            if self.timer.deadline() != soonest {
                self.timer.as_mut().reset(soonest);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Watched {
    /// Steady on average, so that what is lost to the timer's milliseconds is made up for; but never two close together.
    fn sent(&mut self, now: Instant) {
        self.due = (self.due + self.interval).max(now + self.interval / 2);
    }
}

fn interval(max_fps: f64) -> Duration {
    Duration::try_from_secs_f64(max_fps.recip()).unwrap_or(SLOWEST).min(SLOWEST)
}

async fn next(mut viewer: Viewer) -> (Viewer, Option<Arc<PublishedFrame>>) {
    let shown = viewer.next().await;
    (viewer, shown)
}

#[cfg(test)]
mod tests;
