//! One live client: what it says, what happens, and the pictures it watches, one at a time on one line.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use iotpi_core::{LiveFrame, LiveMessage, LiveRequest, Subscription, Via, WatchRequest};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::broadcast::{self, error::RecvError},
    time::{Interval, MissedTickBehavior, interval_at, timeout},
};
use tokio_tungstenite::tungstenite::{
    Message, Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    request::understand,
    socket::{Kind, Socket, Step},
    watches::{Next, Watches},
};
use crate::{
    Hub,
    error::HubError,
    events::{Happened, to_wire},
    http::problem,
    issuers::Line,
    ops::auth::Credential,
};

/// How often the hub asks whether the client is still there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that takes nothing for so long is gone: it has left two pings unanswered.
const SEND_TIMEOUT: Duration = Duration::from_secs(40);
/// How often it is asked whether the session or token that opened the connection still exists.
const CHECK_CREDENTIAL_EVERY: Duration = Duration::from_secs(1);
/// For a goodbye. Said to who listens; one that does not is not waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// One live client.
pub(super) struct Client<S> {
    hub: Hub,
    socket: Socket<S>,
    /// Shows that whoever opened it is there.
    line: Option<Line>,
    /// What was shown when the connection was opened, and when to look at it again.
    credential: Option<Credential>,
    check: Interval,
    is_revoked: bool,
    events: broadcast::Receiver<Arc<Happened>>,
    wanted: Option<Subscription>,
    /// The last event the client knows of.
    seq: u64,
    watches: Watches,
    ping: Interval,
    unanswered: u32,
    /// What the client had taken at the last ping.
    written: u64,
}

/// Over, or not.
type Flow = ControlFlow<()>;

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) fn new(
        hub: Hub,
        socket: Socket<S>,
        line: Option<Line>,
        credential: Option<Credential>,
    ) -> Self {
        let (seq, events) = hub.events().listen();
        let every = |period: Duration| {
            let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        Self {
            hub,
            socket,
            line,
            credential,
            check: every(CHECK_CREDENTIAL_EVERY),
            is_revoked: false,
            events,
            wanted: None,
            seq,
            watches: Watches::new(),
            ping: every(PING_EVERY),
            unanswered: 0,
            written: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let _counted = self.hub.inner.metrics.live_clients.enter();
        let hello = LiveMessage::Hello {
            hub_time: self.hub.now().wall,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut flow = self.say(&hello).await;
        while flow.is_continue() {
            flow = self.turn().await;
        }
        if let Some(line) = &self.line {
            line.closed(self.hub.now().steady);
        }
        let why = match (self.is_revoked, self.hub.stopping().is_cancelled()) {
            (true, _) => Some((CloseCode::Policy, "the session or token has ended")),
            (false, true) => Some((CloseCode::Away, "the hub is stopping")),
            (false, false) => None,
        };
        let why = why.map(|(code, reason)| CloseFrame { code, reason: Utf8Bytes::from_static(reason) });
        let _ = timeout(CLOSE_TIMEOUT, self.socket.close(why)).await;
    }

    /// The next thing that happens. What the client says comes first, then events, then pictures.
    async fn turn(&mut self) -> Flow {
        let stop = self.hub.stopping().clone();
        let free = self.socket.is_idle();
        tokio::select! {
            biased;
            () = stop.cancelled() => Flow::Break(()),
            step = self.socket.step() => match step {
                Step::Heard(message) => self.hear(message).await,
                Step::Sent => Flow::Continue(()),
                Step::Broken => Flow::Break(()),
            },
            _ = self.ping.tick() => self.ask_whether_there(),
            _ = self.check.tick(), if self.credential.is_some() => self.check_credential().await,
            happened = self.events.recv(), if free && self.wanted.is_some() => match happened {
                Ok(happened) => self.tell(&happened).await,
                Err(RecvError::Lagged(_)) => self.resync().await,
                Err(RecvError::Closed) => Flow::Break(()),
            },
            next = self.watches.next(), if free => self.show(next).await,
        }
    }

    async fn check_credential(&mut self) -> Flow {
        if let Some(credential) = &self.credential {
            self.is_revoked = !self.hub.still_exists(credential).await;
        }
        if self.is_revoked { Flow::Break(()) } else { Flow::Continue(()) }
    }

    async fn hear(&mut self, message: Message) -> Flow {
        // Whatever it is, it is a sign of life.
        self.unanswered = 0;
        if let Some(line) = &self.line {
            line.heard(self.hub.now().steady);
        }
        match message {
            Message::Text(text) => match understand(&text) {
                Ok(request) => self.answer(request).await,
                Err(error) => self.object(&error).await,
            },
            Message::Binary(_) => {
                self.object(&HubError::invalid_argument("live speaks text, not bytes")).await
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Flow::Continue(()),
            Message::Close(_) => Flow::Break(()),
        }
    }

    async fn answer(&mut self, request: LiveRequest) -> Flow {
        match request {
            LiveRequest::Subscribe(subscription) => {
                self.wanted = Some(subscription);
                self.present().await
            }
            LiveRequest::Watch { cameras } => self.watch(cameras).await,
            LiveRequest::Shown { module_id, seq } => {
                self.watches.shown(&module_id, seq);
                Flow::Continue(())
            }
            LiveRequest::Time { client_time } => {
                // Looked at when it can go at once: a time that waited behind a picture is a wrong one.
                self.until_free().await?;
                let hub_time = self.hub.now().wall;
                self.say(&LiveMessage::Time { client_time, hub_time }).await
            }
        }
    }

    async fn watch(&mut self, cameras: Vec<WatchRequest>) -> Flow {
        let hub = self.hub.clone();
        for (i, error) in self.watches.replace(cameras, |id| hub.watch(id, Via::Live)) {
            self.object(&error.at(format!("/cameras/{i}/module_id"))).await?;
        }
        Flow::Continue(())
    }

    async fn show(&mut self, next: Next) -> Flow {
        let (module_id, shown) = match next {
            Next::Picture(module_id, shown) => (module_id, shown),
            Next::Removed(id) => {
                let gone = format!("the module `{id}` was removed, and its camera is no longer watched");
                return self.object(&HubError::not_found(gone)).await;
            }
        };
        let frame = LiveFrame {
            module_id,
            seq: shown.seq,
            captured_at: shown.captured_at,
            received_at: shown.received_at,
            no_signal: shown.no_signal,
            jpeg: shown.frame.jpeg().clone(),
        };
        self.socket.put(Kind::Binary, &frame.head(), frame.jpeg);
        Flow::Continue(())
    }

    async fn tell(&mut self, happened: &Happened) -> Flow {
        if happened.seq() <= self.seq {
            return Flow::Continue(());
        }
        self.seq = happened.seq();
        match &self.wanted {
            Some(wanted) if happened.event().is_wanted_by(wanted) => self.send(happened.wire()).await,
            _ => Flow::Continue(()),
        }
    }

    /// Says that events were missed, then what there is now.
    async fn resync(&mut self) -> Flow {
        self.hub.inner.metrics.live_resyncs.add(1);
        let before = self.seq;
        let (seq, events) = self.hub.events().listen();
        self.events = events;
        self.seq = seq;
        let missed = seq.saturating_sub(before);
        self.say(&LiveMessage::Resync { seq, missed }).await?;
        self.say_present(seq).await
    }

    /// Says what there is now; what happens from here on follows as events.
    async fn present(&mut self) -> Flow {
        let (seq, events) = self.hub.events().listen();
        self.events = events;
        self.seq = seq;
        self.say_present(seq).await
    }

    async fn say_present(&mut self, seq: u64) -> Flow {
        let Some(wanted) = &self.wanted else { return Flow::Continue(()) };
        match self.hub.present(seq, wanted).await {
            Ok(present) => self.say(&present).await,
            Err(error) => self.object(&error).await,
        }
    }

    async fn object(&mut self, error: &HubError) -> Flow {
        self.say(&LiveMessage::Problem { problem: problem::document(error, None) }).await
    }

    async fn say(&mut self, message: &LiveMessage) -> Flow {
        self.send(to_wire(message)).await
    }

    /// Sends a text as soon as the line is free; it then goes on its way while the next turns are taken.
    async fn send(&mut self, text: Bytes) -> Flow {
        self.until_free().await?;
        self.socket.put(Kind::Text, &[], text);
        Flow::Continue(())
    }

    /// Waits until what is under way is out. A slow client is given time, one that takes nothing is not.
    async fn until_free(&mut self) -> Flow {
        let stop = self.hub.stopping().clone();
        while !self.socket.is_idle() {
            let progress = tokio::select! {
                () = stop.cancelled() => return Flow::Break(()),
                progress = timeout(SEND_TIMEOUT, self.socket.progress()) => progress,
            };
            if !matches!(progress, Ok(Ok(()))) {
                return Flow::Break(());
            }
        }
        Flow::Continue(())
    }

    /// Pings. A client in the midst of a picture cannot be pinged; as long as it takes more of it, it is there.
    fn ask_whether_there(&mut self) -> Flow {
        let (free, written) = (self.socket.is_idle(), self.socket.written());
        let took_more = !free && written > self.written;
        self.written = written;
        if took_more {
            self.unanswered = 0;
            return Flow::Continue(());
        }
        if self.unanswered >= 2 {
            return Flow::Break(());
        }
        self.unanswered += 1;
        if free {
            self.socket.put(Kind::Ping, &[], Bytes::new());
        }
        Flow::Continue(())
    }
}

#[cfg(test)]
mod tests;
