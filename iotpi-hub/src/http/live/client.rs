//! One live client: what it says, what happens, and the pictures it watches, one message at a time on one line.

use std::{ops::ControlFlow, time::Duration};

use bytes::Bytes;
use iotpi_core::{LiveFrame, LiveMessage, LiveRequest, Subscription, ViewerKind, WatchRequest};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Message, Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    pings::{Due, Pings},
    request::understand,
    request_rate::RequestRate,
    socket::{Kind, Socket, Step},
    watches::{Next, WatchedCameras},
};
use crate::{
    Hub,
    auth::{AuthorizationEnd, Caller},
    error::HubError,
    events::{Subscriber, WireEvent, to_wire},
    http::problem,
    issuer_presence::LiveConnection,
    metrics::GaugeGuard,
    ops::present::Present,
};

/// A client that takes nothing of a message for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(40);
/// For a goodbye. Said to who listens; one that does not is not waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// One live client.
pub(super) struct Client<S> {
    hub: Hub,
    caller: Caller,
    socket: Socket<S>,
    /// Shows that whoever opened it is there.
    line: Option<LiveConnection>,
    ended: AuthorizationEnd,
    is_revoked: bool,
    events: Subscriber,
    wanted: Option<Subscription>,
    /// The last event the client knows of.
    seq: u64,
    /// The present, of which a part is out: nothing else may be sent before its end.
    present: Option<Present>,
    watches: WatchedCameras,
    pings: Pings,
    pace: RequestRate,
}

/// Over, or not.
type Flow = ControlFlow<()>;

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) fn new(
        hub: Hub,
        caller: Caller,
        socket: Socket<S>,
        line: Option<LiveConnection>,
        ended: AuthorizationEnd,
    ) -> Self {
        let (seq, events) = hub.events().subscribe();
        Self {
            hub,
            caller,
            socket,
            line,
            ended,
            is_revoked: false,
            events,
            wanted: None,
            seq,
            present: None,
            watches: WatchedCameras::new(),
            pings: Pings::new(),
            pace: RequestRate::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let _counted = GaugeGuard::new(&self.hub.inner.metrics.live_clients);
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
            (true, _) => Some((CloseCode::Policy, "the session, token or URL has ended")),
            (false, true) => Some((CloseCode::Away, "the hub is stopping")),
            (false, false) => None,
        };
        let why = why.map(|(code, reason)| CloseFrame { code, reason: Utf8Bytes::from_static(reason) });
        let _ = timeout(CLOSE_TIMEOUT, self.socket.close(why)).await;
    }

    /// The next thing that happens. What the client says comes first, then the present, events, and pictures.
    async fn turn(&mut self) -> Flow {
        let stop = self.hub.stopping().clone();
        let idle = self.socket.is_idle();
        if idle && self.present.is_some() {
            return self.send_present().await;
        }
        let free = idle && self.present.is_none();
        let hears = self.pace.is_open();
        tokio::select! {
            biased;
            () = stop.cancelled() => Flow::Break(()),
            () = &mut self.ended => self.revoked(),
            step = self.socket.step(hears) => match step {
                Step::Heard(message) => self.hear(message).await,
                Step::Sent => Flow::Continue(()),
                Step::Broken => Flow::Break(()),
            },
            () = self.pace.opens(), if !hears => Flow::Continue(()),
            () = self.pings.tick() => self.ask_whether_there(),
            happened = self.events.recv(), if free && self.wanted.is_some() => match happened {
                Ok(happened) => self.tell(&happened).await,
                Err(_missed) => self.resync().await,
            },
            next = self.watches.next(), if free => self.show(next).await,
        }
    }

    fn revoked(&mut self) -> Flow {
        self.is_revoked = true;
        Flow::Break(())
    }

    async fn hear(&mut self, message: Message) -> Flow {
        match message {
            Message::Text(text) => {
                self.heard();
                let request = understand(&text);
                if let Ok(LiveRequest::Shown { module_id, seq }) = &request {
                    if self.watches.shown(module_id, *seq) {
                        self.pings.reads();
                    } else {
                        self.pace.spend();
                    }
                    return Flow::Continue(());
                }
                self.pace.spend();
                match request {
                    Ok(request) => self.answer(request).await,
                    Err(error) => self.object(&error).await,
                }
            }
            Message::Pong(payload) if self.pings.is_answered_by(&payload) => {
                self.heard();
                Flow::Continue(())
            }
            Message::Binary(_) => {
                self.pace.spend();
                self.object(&HubError::invalid_argument("live speaks text, not bytes")).await
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                self.pace.spend();
                Flow::Continue(())
            }
            Message::Close(_) => Flow::Break(()),
        }
    }

    /// Whoever opened the connection is there.
    fn heard(&self) {
        if let Some(line) = &self.line {
            line.heard(self.hub.now().steady);
        }
    }

    async fn answer(&mut self, request: LiveRequest) -> Flow {
        match request {
            LiveRequest::Subscribe(subscription) => {
                self.wanted = Some(subscription);
                self.present().await
            }
            LiveRequest::Watch { cameras } => self.watch(cameras).await,
            LiveRequest::Shown { .. } => Flow::Continue(()),
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
        for (i, error) in self.watches.replace(cameras, |id| hub.watch(id, ViewerKind::Live)) {
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
        let Ok(jpeg) = self.hub.inner.admission.view(&self.caller, shown.frame.jpeg()).await else {
            // Without room in time the frame is old: the next one is tried.
            self.watches.shown(&module_id, shown.seq);
            return Flow::Continue(());
        };
        let frame = LiveFrame {
            module_id,
            seq: shown.seq,
            captured_at: shown.captured_at,
            received_at: shown.received_at,
            no_signal: shown.no_signal,
            jpeg,
        };
        self.socket.put(Kind::Binary, &frame.head(), frame.jpeg);
        Flow::Continue(())
    }

    async fn tell(&mut self, happened: &WireEvent) -> Flow {
        if happened.seq() <= self.seq {
            return Flow::Continue(());
        }
        self.seq = happened.seq();
        match &self.wanted {
            Some(wanted) if happened.is_wanted_by(wanted) => self.send(happened.wire()).await,
            _ => Flow::Continue(()),
        }
    }

    /// Says that events were missed, then what there is now.
    async fn resync(&mut self) -> Flow {
        self.hub.inner.metrics.live_resyncs.inc();
        let before = self.seq;
        let (seq, events) = self.hub.events().subscribe();
        self.events = events;
        self.seq = seq;
        let missed = seq.saturating_sub(before);
        self.say(&LiveMessage::Resync { seq, missed }).await?;
        self.say_present(seq).await
    }

    /// Says what there is now; what happens from here on follows as events.
    async fn present(&mut self) -> Flow {
        let (seq, events) = self.hub.events().subscribe();
        self.events = events;
        self.seq = seq;
        self.say_present(seq).await
    }

    async fn say_present(&mut self, seq: u64) -> Flow {
        self.until_free().await?;
        let Some(wanted) = &self.wanted else { return Flow::Continue(()) };
        let mut present = self.hub.present(seq, wanted);
        match present.piece().await {
            Ok((piece, is_last)) => {
                self.socket.put_part(Kind::Text, is_last, piece);
                self.present = (!is_last).then_some(present);
                Flow::Continue(())
            }
            Err(error) => self.object(&error).await,
        }
    }

    /// Sends the next piece of the present. One that cannot be made breaks the connection off: half a message cannot be taken
    /// back.
    async fn send_present(&mut self) -> Flow {
        let Some(mut present) = self.present.take() else { return Flow::Continue(()) };
        let stop = self.hub.stopping().clone();
        let piece = tokio::select! {
            biased;
            () = stop.cancelled() => return Flow::Break(()),
            () = &mut self.ended => return self.revoked(),
            piece = present.piece() => piece,
        };
        match piece {
            Ok((piece, is_last)) => {
                self.socket.put_part(Kind::Continuation, is_last, piece);
                self.present = (!is_last).then_some(present);
                Flow::Continue(())
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the present could not be read");
                Flow::Break(())
            }
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
        loop {
            if self.socket.is_idle() {
                if self.present.is_none() {
                    return Flow::Continue(());
                }
                self.send_present().await?;
                continue;
            }
            let progress = tokio::select! {
                () = stop.cancelled() => return Flow::Break(()),
                () = &mut self.ended => return self.revoked(),
                progress = timeout(SEND_TIMEOUT, self.socket.progress()) => progress,
            };
            if !matches!(progress, Ok(Ok(()))) {
                return Flow::Break(());
            }
        }
    }

    fn ask_whether_there(&mut self) -> Flow {
        match self.pings.due(self.socket.is_idle(), self.socket.written()) {
            Due::Ping(payload) => self.socket.put(Kind::Ping, &[], payload),
            Due::Nothing => {}
            Due::Close => return Flow::Break(()),
        }
        Flow::Continue(())
    }
}

#[cfg(test)]
mod tests;
