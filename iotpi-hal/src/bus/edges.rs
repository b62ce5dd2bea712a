//! Input pins that report their edges.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use iotpi_core::{DeviceError, async_trait};
use tokio::sync::Notify;

/// The number of edges that wait to be read, as in the largest buffer of the kernel (`GPIO_MAX_EVENTS`: 16 for
/// each of 64 lines). When it is full the oldest edge is lost.
pub(crate) const MAX_EDGES: usize = 1024;

/// A change of the level of an input pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Edge {
    /// Whether the pin is high after the edge.
    pub is_high: bool,
    /// The time of the edge since a fixed moment: the monotonic clock of the kernel, on a real pin.
    pub at: Duration,
    /// The number of edges that were lost directly before this one because too many waited.
    pub lost: u32,
}

/// An input pin whose edges are recorded by the kernel, with their times, until the driver takes them: an edge
/// between two reads is not lost.
///
/// Implementations: `linux::edges`, `pi::edges` and
/// [`SimPin`](crate::sim::SimPin). Their debouncing is that of the kernel: an edge counts when the level has
/// not changed for the debounce time.
#[async_trait]
pub trait EdgeInput: Send + 'static {
    /// Whether the pin is high now.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Bus`](iotpi_core::DeviceErrorKind::Bus) when the pin cannot be read.
    fn is_high(&mut self) -> Result<bool, DeviceError>;

    /// Takes the oldest edge that was not taken yet. Does not wait.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Bus`](iotpi_core::DeviceErrorKind::Bus) when the edges cannot be read.
    fn next_edge(&mut self) -> Result<Option<Edge>, DeviceError>;

    /// Waits until there is an edge to take. When edges cannot be read it does not complete;
    /// [`next_edge`](Self::next_edge) returns the error.
    ///
    /// # Cancel safety
    /// A cancelled call loses no edge.
    async fn wait_for_edge(&mut self);
}

#[async_trait]
impl<P: EdgeInput + ?Sized> EdgeInput for Box<P> {
    fn is_high(&mut self) -> Result<bool, DeviceError> {
        (**self).is_high()
    }

    fn next_edge(&mut self) -> Result<Option<Edge>, DeviceError> {
        (**self).next_edge()
    }

    async fn wait_for_edge(&mut self) {
        (**self).wait_for_edge().await;
    }
}

/// Edges that wait to be taken. Clones share the queue.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(any(feature = "pi", feature = "sim")), allow(dead_code))]
pub(crate) struct EdgeQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    edges: Mutex<VecDeque<Edge>>,
    pushed: Notify,
}

#[cfg_attr(not(any(feature = "pi", feature = "sim")), allow(dead_code))]
impl EdgeQueue {
    /// Adds an edge. When the queue is full the oldest edge is lost, and the next one counts it.
    pub(crate) fn push(&self, is_high: bool, at: Duration, lost: u32) {
        let mut edges = self.lock();
        edges.push_back(Edge { is_high, at, lost });
        if edges.len() > MAX_EDGES {
            let oldest = edges.pop_front().map_or(0, |edge| edge.lost);
            if let Some(next) = edges.front_mut() {
                next.lost += oldest + 1;
            }
        }
        drop(edges);
        self.0.pushed.notify_one();
    }

    pub(crate) fn pop(&self) -> Option<Edge> {
        self.lock().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Wakes the driver that waits, to look again.
    #[cfg(feature = "sim")]
    pub(crate) fn wake(&self) {
        self.0.pushed.notify_one();
    }

    /// Waits until an edge was pushed. May return without one.
    pub(crate) async fn pushed(&self) {
        self.0.pushed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Edge>> {
        self.0.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_counts_the_edges_it_lost() {
        let queue = EdgeQueue::default();

        for number in 0..MAX_EDGES as u64 + 3 {
            queue.push(number % 2 == 0, Duration::from_secs(number), 0);
        }

        let oldest = queue.pop().unwrap();
        assert_eq!((oldest.at, oldest.lost), (Duration::from_secs(3), 3));
        assert_eq!(queue.pop().unwrap().lost, 0);
    }
}
