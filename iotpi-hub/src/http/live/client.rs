//! One live client: its requests, the events it subscribed to and the frames it watches, one message at a time.

use std::{ops::ControlFlow, time::Duration};

use bytes::Bytes;
use iotpi_core::model::{
    camera::ViewerKind,
    event::{LiveMessage, LiveRequest, Subscription, WatchRequest},
    frame::LiveFrame,
};
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
    request::parse,
    request_rate::RequestRate,
    socket::{Opcode, Socket, Step},
    watches::{Next, WatchedCameras},
};
use crate::{
    Hub,
    auth::Caller,
    error::HubError,
    events::{Subscriber, WireEvent, to_wire},
    http::problem,
    issuer_presence::LiveConnection,
    metrics::GaugeGuard,
    ops::authorization::AuthorizationEnd,
    ops::present::Present,
};

/// A client that reads nothing of a message for this long is disconnected.
const SEND_TIMEOUT: Duration = Duration::from_secs(40);
/// Time for the close frame. A client that does not read is not waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// One live client.
pub(super) struct Client<S> {
    hub: Hub,
    caller: Caller,
    socket: Socket<S>,
    /// The presence of the session or token that opened the connection.
    presence: Option<LiveConnection>,
    ended: AuthorizationEnd,
    is_revoked: bool,
    events: Subscriber,
    subscription: Option<Subscription>,
    /// Number of the last event that the client knows.
    seq: u64,
    /// The current state, if a part of it has been sent: nothing else may be sent before its end.
    present: Option<Present>,
    watches: WatchedCameras,
    pings: Pings,
    request_rate: RequestRate,
}

/// Whether the client stays connected.
type Flow = ControlFlow<()>;

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) fn new(
        hub: Hub,
        caller: Caller,
        socket: Socket<S>,
        presence: Option<LiveConnection>,
        ended: AuthorizationEnd,
    ) -> Self {
        let (seq, events) = hub.events().subscribe();
        Self {
            hub,
            caller,
            socket,
            presence,
            ended,
            is_revoked: false,
            events,
            subscription: None,
            seq,
            present: None,
            watches: WatchedCameras::new(),
            pings: Pings::new(),
            request_rate: RequestRate::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let _counted = GaugeGuard::new(&self.hub.inner.metrics.live_clients);
        let hello = LiveMessage::hello(self.hub.now().wall, env!("CARGO_PKG_VERSION"));
        let mut flow = self.send_message(&hello).await;
        while flow.is_continue() {
            flow = self.handle_next().await;
        }
        if let Some(presence) = &self.presence {
            presence.closed(self.hub.now().steady);
        }
        let reason = match (self.is_revoked, self.hub.stopping().is_cancelled()) {
            (true, _) => Some((CloseCode::Policy, "the session, token or URL has ended")),
            (false, true) => Some((CloseCode::Away, "the hub is stopping")),
            (false, false) => None,
        };
        let reason = reason.map(|(code, reason)| CloseFrame { code, reason: Utf8Bytes::from_static(reason) });
        let _ = timeout(CLOSE_TIMEOUT, self.socket.close(reason)).await;
    }

    /// Handles the next event. The order of precedence is: messages of the client, the current state, events, frames.
    async fn handle_next(&mut self) -> Flow {
        let stop = self.hub.stopping().clone();
        let idle = self.socket.is_idle();
        if idle && self.present.is_some() {
            return self.send_next_piece().await;
        }
        let free = idle && self.present.is_none();
        let reads = self.request_rate.allows_reading();
        tokio::select! {
            biased;
            () = stop.cancelled() => Flow::Break(()),
            () = &mut self.ended => self.revoked(),
            step = self.socket.step(reads) => match step {
                Step::Received(message) => self.receive(message).await,
                Step::Sent => Flow::Continue(()),
                Step::Broken => Flow::Break(()),
            },
            () = self.request_rate.refilled(), if !reads => Flow::Continue(()),
            () = self.pings.tick() => self.ping(),
            event = self.events.recv(), if free && self.subscription.is_some() => match event {
                Ok(event) => self.send_event(&event).await,
                Err(_missed) => self.resync().await,
            },
            next = self.watches.next(), if free => self.send_frame(next).await,
        }
    }

    fn revoked(&mut self) -> Flow {
        self.is_revoked = true;
        Flow::Break(())
    }

    async fn receive(&mut self, message: Message) -> Flow {
        match message {
            Message::Text(text) => {
                self.touch();
                let request = parse(&text);
                if let Ok(LiveRequest::Shown { module_id, seq }) = &request {
                    if self.watches.acknowledge(module_id, *seq) {
                        self.pings.confirm_reading();
                    } else {
                        self.request_rate.take();
                    }
                    return Flow::Continue(());
                }
                self.request_rate.take();
                match request {
                    Ok(request) => self.answer(request).await,
                    Err(error) => self.send_problem(&error).await,
                }
            }
            Message::Pong(payload) if self.pings.is_answered_by(&payload) => {
                self.touch();
                Flow::Continue(())
            }
            Message::Binary(_) => {
                self.request_rate.take();
                self.send_problem(&HubError::invalid_argument("live speaks text, not bytes")).await
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                self.request_rate.take();
                Flow::Continue(())
            }
            Message::Close(_) => Flow::Break(()),
        }
    }

    /// Updates the presence of the session or token that opened the connection.
    fn touch(&self) {
        if let Some(presence) = &self.presence {
            presence.touch(self.hub.now().steady);
        }
    }

    async fn answer(&mut self, request: LiveRequest) -> Flow {
        match request {
            LiveRequest::Subscribe(subscription) => {
                self.subscription = Some(subscription);
                self.start_present().await
            }
            LiveRequest::Watch { cameras } => self.watch(cameras).await,
            LiveRequest::Shown { .. } => Flow::Continue(()),
            LiveRequest::Time { client_time } => {
                // The clock is read when the message can be sent at once: a time that waited behind a frame would be wrong.
                self.wait_until_idle().await?;
                let hub_time = self.hub.now().wall;
                self.send_message(&LiveMessage::Time { client_time, hub_time }).await
            }
        }
    }

    async fn watch(&mut self, cameras: Vec<WatchRequest>) -> Flow {
        let hub = self.hub.clone();
        for (i, error) in self.watches.replace(cameras, |id| hub.watch(id, ViewerKind::Live)) {
            self.send_problem(&error.at(format!("/cameras/{i}/module_id"))).await?;
        }
        Flow::Continue(())
    }

    async fn send_frame(&mut self, next: Next) -> Flow {
        let (module_id, published) = match next {
            Next::Frame(module_id, published) => (module_id, published),
            Next::Removed(id) => {
                let gone = format!("the module `{id}` was removed, and its camera is no longer watched");
                return self.send_problem(&HubError::not_found(gone)).await;
            }
        };
        let Ok(jpeg) = self.hub.inner.admission.view(&self.caller, published.frame.jpeg()).await else {
            // When the budget had no room in time the frame is outdated. The next one is tried.
            self.watches.acknowledge(&module_id, published.seq);
            return Flow::Continue(());
        };
        let (captured_at, received_at) = (published.captured_at, published.received_at);
        let mut frame = LiveFrame::new(module_id, published.seq, captured_at, received_at, jpeg);
        frame.no_signal = published.no_signal;
        self.socket.start_send(Opcode::Binary, &frame.head(), frame.jpeg);
        Flow::Continue(())
    }

    async fn send_event(&mut self, event: &WireEvent) -> Flow {
        if event.seq() <= self.seq {
            return Flow::Continue(());
        }
        self.seq = event.seq();
        match &self.subscription {
            Some(subscription) if event.is_wanted_by(subscription) => self.send(event.wire()).await,
            _ => Flow::Continue(()),
        }
    }

    /// Reports that events were missed, then sends the current state.
    async fn resync(&mut self) -> Flow {
        self.hub.inner.metrics.live_resyncs.inc();
        let before = self.seq;
        let (seq, events) = self.hub.events().subscribe();
        self.events = events;
        self.seq = seq;
        let missed = seq.saturating_sub(before);
        self.send_message(&LiveMessage::resync(seq, missed)).await?;
        self.send_first_piece(seq).await
    }

    /// Sends the current state. Later changes follow as events.
    async fn start_present(&mut self) -> Flow {
        let (seq, events) = self.hub.events().subscribe();
        self.events = events;
        self.seq = seq;
        self.send_first_piece(seq).await
    }

    async fn send_first_piece(&mut self, seq: u64) -> Flow {
        self.wait_until_idle().await?;
        let Some(subscription) = &self.subscription else { return Flow::Continue(()) };
        let mut present = self.hub.present(seq, subscription);
        match present.piece().await {
            Ok((piece, is_last)) => {
                self.socket.start_send_part(Opcode::Text, is_last, piece);
                self.present = (!is_last).then_some(present);
                Flow::Continue(())
            }
            Err(error) => self.send_problem(&error).await,
        }
    }

    /// Sends the next piece of the current state. If it cannot be read the connection is closed, because half a message cannot be
    /// revoked.
    async fn send_next_piece(&mut self) -> Flow {
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
                self.socket.start_send_part(Opcode::Continuation, is_last, piece);
                self.present = (!is_last).then_some(present);
                Flow::Continue(())
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot read the current state for a live client"
                );
                Flow::Break(())
            }
        }
    }

    async fn send_problem(&mut self, error: &HubError) -> Flow {
        self.send_message(&LiveMessage::Problem { problem: problem::document(error, None) }).await
    }

    async fn send_message(&mut self, message: &LiveMessage) -> Flow {
        self.send(to_wire(message)).await
    }

    /// Starts to send a text as soon as the connection is idle. The text is written while later events are handled.
    async fn send(&mut self, text: Bytes) -> Flow {
        self.wait_until_idle().await?;
        self.socket.start_send(Opcode::Text, &[], text);
        Flow::Continue(())
    }

    /// Waits until the message in flight has been written. A slow client has time; one that reads nothing does not.
    async fn wait_until_idle(&mut self) -> Flow {
        let stop = self.hub.stopping().clone();
        loop {
            if self.socket.is_idle() {
                if self.present.is_none() {
                    return Flow::Continue(());
                }
                self.send_next_piece().await?;
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

    fn ping(&mut self) -> Flow {
        match self.pings.due(self.socket.is_idle(), self.socket.written()) {
            Due::Ping(payload) => self.socket.start_send(Opcode::Ping, &[], payload),
            Due::Nothing => {}
            Due::Close => return Flow::Break(()),
        }
        Flow::Continue(())
    }
}

#[cfg(test)]
mod tests;
