//! `/api/live`: events over a WebSocket. `docs/ref/live.md` is the protocol.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use axum::{
    extract::{
        FromRequestParts, State,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code},
    },
    response::Response,
};
use http::request::Parts;
use iotpi_core::{
    LiveMessage, LiveRequest, MAX_LIVE_MESSAGE_BYTES, MAX_RECENT, MAX_SUBSCRIPTION_NAMES, Subscription,
};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Interval, MissedTickBehavior, interval_at, timeout},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::problem;
use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    events::{Happened, to_wire},
    issuers::Line,
};

/// How often the hub asks whether the client is still there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that takes nothing for so long is gone: it has left two pings unanswered.
const SEND_TIMEOUT: Duration = Duration::from_secs(40);

pub(super) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new().routes(routes!(live))
}

struct Upgrade(WebSocketUpgrade);

impl FromRequestParts<Hub> for Upgrade {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        WebSocketUpgrade::from_request_parts(parts, hub).await.map(Self).map_err(|rejection| {
            HubError::invalid_argument(format!("this path speaks WebSocket: {}", rejection.body_text()))
        })
    }
}

/// Live events
///
/// Upgrades to a WebSocket; docs/ref/live.md is the protocol.
#[utoipa::path(
    get, path = "/api/live", tag = "live", operation_id = "live",
    responses((status = 101, description = "A WebSocket"), problem::PermissionDenied)
)]
async fn live(State(hub): State<Hub>, caller: Caller, upgrade: Result<Upgrade>) -> Result<Response> {
    caller.may_read()?;
    let Upgrade(upgrade) = upgrade?;
    let tasks = hub.inner.tasks.clone();
    let line = caller.issuer().map(|issuer| hub.inner.issuers.line(issuer, hub.now().steady));
    Ok(upgrade
        // Somewhat over the protocol's limit, so that what is a little too long gets an answer and not a hang-up.
        .max_message_size(4 * MAX_LIVE_MESSAGE_BYTES)
        .max_frame_size(4 * MAX_LIVE_MESSAGE_BYTES)
        .on_upgrade(move |socket| tasks.track_future(Client::new(hub, socket, line).run())))
}

/// One live client.
struct Client {
    hub: Hub,
    socket: WebSocket,
    /// Shows that whoever opened it is there.
    line: Option<Line>,
    events: broadcast::Receiver<Arc<Happened>>,
    wanted: Option<Subscription>,
    /// The last event the client knows of.
    seq: u64,
    ping: Interval,
    unanswered: u32,
}

/// Over, or not.
type Flow = ControlFlow<()>;

impl Client {
    fn new(hub: Hub, socket: WebSocket, line: Option<Line>) -> Self {
        let (seq, events) = hub.events().listen();
        let mut ping = interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { hub, socket, line, events, wanted: None, seq, ping, unanswered: 0 }
    }

    async fn run(mut self) {
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
        if self.hub.stopping().is_cancelled() {
            let going =
                CloseFrame { code: close_code::AWAY, reason: Utf8Bytes::from_static("the hub is stopping") };
            // Said to who listens; one that does not is not waited for.
            let _ = timeout(Duration::from_millis(500), self.socket.send(Message::Close(Some(going)))).await;
        }
    }

    async fn turn(&mut self) -> Flow {
        let stop = self.hub.stopping().clone();
        tokio::select! {
            () = stop.cancelled() => Flow::Break(()),
            heard = self.socket.recv() => match heard {
                Some(Ok(message)) => self.hear(message).await,
                _ => Flow::Break(()),
            },
            happened = self.events.recv(), if self.wanted.is_some() => match happened {
                Ok(happened) => self.tell(&happened).await,
                Err(RecvError::Lagged(_)) => self.resync().await,
                Err(RecvError::Closed) => Flow::Break(()),
            },
            _ = self.ping.tick() => {
                if self.unanswered >= 2 {
                    return Flow::Break(());
                }
                self.unanswered += 1;
                self.send(Message::Ping(bytes::Bytes::new())).await
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Flow {
        // Whatever it is, it is a sign of life.
        self.unanswered = 0;
        if let Some(line) = &self.line {
            line.heard(self.hub.now().steady);
        }
        match message {
            Message::Text(text) => match understand(&text) {
                Ok(LiveRequest::Subscribe(subscription)) => {
                    self.wanted = Some(subscription);
                    self.present().await
                }
                Err(error) => self.object(&error).await,
            },
            Message::Binary(_) => {
                self.object(&HubError::invalid_argument("live speaks text, not bytes")).await
            }
            Message::Ping(_) | Message::Pong(_) => Flow::Continue(()),
            Message::Close(_) => Flow::Break(()),
        }
    }

    async fn tell(&mut self, happened: &Happened) -> Flow {
        if happened.seq() <= self.seq {
            return Flow::Continue(());
        }
        self.seq = happened.seq();
        match &self.wanted {
            Some(wanted) if happened.event().is_wanted_by(wanted) => {
                self.send(Message::Text(happened.wire())).await
            }
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
        match self.say(&LiveMessage::Resync { seq, missed }).await {
            Flow::Continue(()) => self.say_present(seq).await,
            over => over,
        }
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
        self.send(Message::Text(to_wire(message))).await
    }

    async fn send(&mut self, message: Message) -> Flow {
        let stop = self.hub.stopping().clone();
        let sent = tokio::select! {
            () = stop.cancelled() => return Flow::Break(()),
            sent = timeout(SEND_TIMEOUT, self.socket.send(message)) => sent,
        };
        if matches!(sent, Ok(Ok(()))) { Flow::Continue(()) } else { Flow::Break(()) }
    }
}

fn understand(text: &str) -> Result<LiveRequest> {
    if text.len() > MAX_LIVE_MESSAGE_BYTES {
        return Err(HubError::too_large("a live message has up to 4 KiB"));
    }
    let request: LiveRequest =
        serde_json::from_str(text).map_err(|error| HubError::invalid_argument(error.to_string()))?;
    let LiveRequest::Subscribe(subscription) = &request;
    if subscription.recent > MAX_RECENT {
        return Err(HubError::invalid_argument("`recent` is 0 to 1,000").at("/recent"));
    }
    let lists = [
        ("/kinds", subscription.kinds.as_ref().map(Vec::len)),
        ("/modules", subscription.modules.as_ref().map(Vec::len)),
        ("/sensors", subscription.sensors.as_ref().map(Vec::len)),
    ];
    match lists.into_iter().find(|(_, len)| len.is_some_and(|len| len > MAX_SUBSCRIPTION_NAMES)) {
        Some((list, _)) => Err(HubError::too_large("a list has up to 64 names").at(list)),
        None => Ok(request),
    }
}
