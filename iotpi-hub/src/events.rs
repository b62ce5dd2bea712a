//! Numbered events for live clients.
//!
//! Delivery is best effort: a subscriber that falls behind receives the number of missed events and requests
//! the current state. Events are kept once for all subscribers, bounded by number and by bytes, so that
//! memory depends neither on the number of stalled subscribers nor on the size of the events. Deliberately
//! absent: a log of events. Durable data is in the store.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use iotpi_core::{
    ModuleId, SensorType,
    model::event::{Event, EventKind, LiveMessage, NumberedEvent, Subscription},
};
use tokio::sync::watch;

use crate::lock::lock;

/// The memory of an event besides its text: names, the allocation's header, the slot in the backlog.
const EVENT_OVERHEAD_BYTES: usize = 256;

/// An event in its wire form, shared by all subscribers.
///
/// Only the text is kept: parsed, a manifest takes several times as many bytes.
#[derive(Debug)]
pub struct WireEvent {
    seq: u64,
    kind: EventKind,
    module_id: ModuleId,
    sensor: Option<SensorType>,
    wire: Bytes,
}

impl WireEvent {
    fn new(seq: u64, event: Event) -> Self {
        let (kind, module_id) = (event.kind(), event.module_id().clone());
        let sensor = match &event {
            Event::Reading { reading } => Some(reading.quantity.name()),
            _ => None,
        };
        let wire = to_wire(&LiveMessage::Event(NumberedEvent::new(seq, event)));
        Self { seq, kind, module_id, sensor, wire }
    }

    /// The number of the event.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Parses the event from its wire form.
    ///
    /// # Errors
    /// If the wire form cannot be parsed, which does not happen for events of this hub.
    pub fn event(&self) -> serde_json::Result<Event> {
        serde_json::from_slice::<NumberedEvent>(&self.wire).map(|numbered| numbered.event)
    }

    /// The module the event is about.
    pub(crate) fn module_id(&self) -> &ModuleId {
        &self.module_id
    }

    /// Whether a subscription includes the event.
    pub(crate) fn is_wanted_by(&self, subscription: &Subscription) -> bool {
        match &self.sensor {
            Some(sensor) => subscription.wants_series(&self.module_id, sensor),
            None => subscription.wants(self.kind, &self.module_id),
        }
    }

    /// The wire form of the live message.
    pub(crate) fn wire(&self) -> Bytes {
        self.wire.clone()
    }

    fn weight(&self) -> usize {
        self.wire.len() + EVENT_OVERHEAD_BYTES
    }
}

/// The wire form of a live message.
pub(crate) fn to_wire(message: &LiveMessage) -> Bytes {
    // Wire types have string keys and finite numbers: serialising them cannot fail.
    serde_json::to_string(message).unwrap_or_default().into()
}

/// The events of the hub.
///
/// ```
/// use iotpi_hub::{Events, iotpi_core::model::event::Event};
///
/// async fn print_readings(events: &Events) -> serde_json::Result<()> {
///     let (_, mut subscriber) = events.subscribe();
///     loop {
///         match subscriber.recv().await {
///             Ok(event) => {
///                 if let Event::Reading { reading } = event.event()? {
///                     println!("{}: {:?}", reading.module_id, reading.outcome);
///                 }
///             }
///             Err(missed) => println!("{missed} events were missed"),
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Events {
    ring: Arc<Mutex<Backlog>>,
    /// Notified with each event; its receivers are the subscribers.
    published: watch::Sender<()>,
}

/// The newest events, oldest first.
#[derive(Debug)]
struct Backlog {
    /// The number of the newest event, whether it is kept or not.
    seq: u64,
    kept: VecDeque<Arc<WireEvent>>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

impl Backlog {
    fn push(&mut self, happened: WireEvent) {
        self.bytes += happened.weight();
        self.kept.push_back(Arc::new(happened));
        while self.kept.len() > self.max_events || self.bytes > self.max_bytes {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes -= oldest.weight();
        }
    }

    fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }
}

impl Events {
    /// Keeps up to `max_events` events of up to `max_bytes` bytes in total.
    pub(crate) fn new(max_events: usize, max_bytes: usize) -> Self {
        let ring = Backlog { seq: 0, kept: VecDeque::new(), bytes: 0, max_events, max_bytes };
        Self { ring: Arc::new(Mutex::new(ring)), published: watch::Sender::new(()) }
    }

    /// The number of the newest event.
    #[must_use]
    pub fn seq(&self) -> u64 {
        lock(&self.ring).seq
    }

    /// Subscribes to all events from now on; also returns the number of the newest event before.
    #[must_use]
    pub fn subscribe(&self) -> (u64, Subscriber) {
        let ring = lock(&self.ring);
        let listener = Subscriber {
            ring: Arc::clone(&self.ring),
            published: self.published.subscribe(),
            next: ring.seq + 1,
        };
        (ring.seq, listener)
    }

    pub(crate) fn publish(&self, event: Event) {
        {
            // Numbered and appended under one lock, so that subscribers see rising numbers.
            let mut ring = lock(&self.ring);
            ring.seq += 1;
            if self.published.receiver_count() == 0 {
                ring.clear();
                return;
            }
            let happened = WireEvent::new(ring.seq, event);
            ring.push(happened);
        }
        self.published.send_replace(());
    }
}

/// The reasons why a subscriber receives no event now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecvError {
    /// There is no new event.
    Yet,
    /// This many events were dropped before the subscriber received them.
    Missed(u64),
}

/// A subscriber of the hub's events.
#[derive(Debug)]
pub struct Subscriber {
    ring: Arc<Mutex<Backlog>>,
    published: watch::Receiver<()>,
    /// The number of the next event.
    next: u64,
}

impl Subscriber {
    /// The next event, if there is one.
    ///
    /// # Errors
    /// [`RecvError`]. After [`RecvError::Missed`] it continues with the oldest event that is kept.
    pub fn try_recv(&mut self) -> Result<Arc<WireEvent>, RecvError> {
        let ring = lock(&self.ring);
        if self.next > ring.seq {
            return Err(RecvError::Yet);
        }
        let oldest = ring.seq + 1 - ring.kept.len() as u64;
        if self.next < oldest {
            let missed = oldest - self.next;
            self.next = oldest;
            return Err(RecvError::Missed(missed));
        }
        let at = usize::try_from(self.next - oldest).unwrap_or(usize::MAX);
        let happened = ring.kept.get(at).cloned().ok_or(RecvError::Yet)?;
        self.next += 1;
        Ok(happened)
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// The number of events that were dropped. It then continues with the oldest event that is kept.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn recv(&mut self) -> Result<Arc<WireEvent>, u64> {
        loop {
            // Marked before the check, so that an event published in between wakes the wait below.
            self.published.mark_unchanged();
            match self.try_recv() {
                Ok(happened) => return Ok(happened),
                Err(RecvError::Missed(missed)) => return Err(missed),
                Err(RecvError::Yet) => {}
            }
            if self.published.changed().await.is_err() {
                // The hub is gone: there will be no further event.
                return std::future::pending().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use iotpi_core::{Quantity, Reading, Sample, Timestamp};

    use super::*;

    fn reading(module: &str) -> Event {
        let sample = Sample::new(Quantity::Temperature, 21.5);
        Event::Reading { reading: Reading::new(ModuleId::new(module).unwrap(), sample, Timestamp::MIN) }
    }

    #[tokio::test]
    async fn a_subscriber_gets_later_events_in_order() {
        let events = Events::new(10, 1 << 20);
        events.publish(reading("before"));

        let (seq, mut listener) = events.subscribe();
        events.publish(reading("a"));
        events.publish(reading("b"));

        assert_eq!(seq, 1);
        for (number, module) in [(2, "a"), (3, "b")] {
            let happened = listener.recv().await.unwrap();
            assert_eq!((happened.seq(), happened.event().unwrap()), (number, reading(module)));
        }
        assert_eq!(listener.try_recv().unwrap_err(), RecvError::Yet);
    }

    #[tokio::test]
    async fn a_listener_that_waits_is_woken() {
        let events = Arc::new(Events::new(10, 1 << 20));
        let (_, mut listener) = events.subscribe();

        let waits = tokio::spawn(async move { listener.recv().await.unwrap().seq() });
        tokio::task::yield_now().await;
        events.publish(reading("a"));

        assert_eq!(waits.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn events_are_bounded_by_number_and_by_bytes_and_a_late_listener_learns_how_many_it_missed() {
        let one = WireEvent::new(1, reading("a")).weight();
        for (max_events, max_bytes, kept) in [(3, 1 << 20, 3), (100, 4 * one + one / 2, 4), (100, 10, 0)] {
            let events = Events::new(max_events, max_bytes);
            let (_, mut listener) = events.subscribe();

            for _ in 0..9 {
                events.publish(reading("a"));
            }

            assert!(lock(&events.ring).bytes <= max_bytes);
            assert_eq!(listener.recv().await.unwrap_err(), 9 - kept);
            let mut left = 0;
            while listener.try_recv().is_ok() {
                left += 1;
            }
            assert_eq!(left, kept);
        }
    }

    #[test]
    fn without_subscribers_no_event_is_kept() {
        let events = Events::new(10, 1 << 20);
        let (_, listener) = events.subscribe();
        events.publish(reading("a"));
        drop(listener);

        events.publish(reading("b"));

        let ring = lock(&events.ring);
        assert_eq!((ring.seq, ring.kept.len(), ring.bytes), (2, 0, 0));
    }
}
