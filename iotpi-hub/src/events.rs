//! What happened, numbered, for everybody who listens.
//!
//! Best effort: a listener that falls behind is told how far, and asks for the present. Deliberately absent: a log of
//! events. What must survive is in the store.

use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use iotpi_core::{Event, LiveMessage, NumberedEvent};
use tokio::sync::broadcast;

use crate::lock::lock;

/// One event and, once somebody wants it, its wire form: made once, shared by all.
#[derive(Debug)]
pub struct Happened {
    numbered: NumberedEvent,
    wire: OnceLock<Bytes>,
}

impl Happened {
    /// Its number.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.numbered.seq
    }

    /// What happened.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.numbered.event
    }

    /// The live message.
    pub(crate) fn wire(&self) -> Bytes {
        self.wire.get_or_init(|| to_wire(&LiveMessage::Event(self.numbered.clone()))).clone()
    }
}

/// A live message as it travels.
pub(crate) fn to_wire(message: &LiveMessage) -> Bytes {
    // Wire types have string keys and finite numbers: serialising them cannot fail.
    serde_json::to_string(message).unwrap_or_default().into()
}

/// The hub's events.
#[derive(Debug)]
pub struct Events {
    seq: Mutex<u64>,
    sender: broadcast::Sender<Arc<Happened>>,
}

impl Events {
    pub(crate) fn new(backlog: usize) -> Self {
        Self { seq: Mutex::new(0), sender: broadcast::Sender::new(backlog) }
    }

    /// The number of the newest event.
    #[must_use]
    pub fn seq(&self) -> u64 {
        *lock(&self.seq)
    }

    /// Everything from now on, and the number of the newest event before.
    #[must_use]
    pub fn listen(&self) -> (u64, broadcast::Receiver<Arc<Happened>>) {
        let seq = lock(&self.seq);
        (*seq, self.sender.subscribe())
    }

    pub(crate) fn publish(&self, event: Event) {
        // Numbered and sent under one lock, so that listeners see numbers rise.
        let mut seq = lock(&self.seq);
        *seq += 1;
        let numbered = NumberedEvent { seq: *seq, event };
        // Nobody listening is not an error.
        let _ = self.sender.send(Arc::new(Happened { numbered, wire: OnceLock::new() }));
    }
}
