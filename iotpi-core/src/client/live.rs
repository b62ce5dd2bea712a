//! The live WebSocket.

use std::{collections::VecDeque, time::Duration};

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, header::AUTHORIZATION};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

use super::http::{Connection, Http};
use crate::{
    model::{
        error::{ErrorKind, Problem},
        event::{LiveMessage, LiveRequest, Subscription, WatchRequest},
        id::ModuleId,
        live_frame::{InvalidLiveFrame, LiveFrame},
    },
    uplink::UplinkError,
};

/// An item of the live connection.
///
/// ```no_run
/// # async fn example(hub: iotpi_core::HubClient) -> Result<(), iotpi_core::AnyError> {
/// use iotpi_core::{client::Live, model::event::{Subscription, WatchRequest}};
///
/// let mut live = hub.live(&Subscription::new()).await?;
/// live.watch(&[WatchRequest::new("porch".parse()?)]).await?;
/// while let Some(item) = live.receive().await? {
///     match item {
///         Live::Frame(frame) => live.acknowledge(&frame.module_id, frame.seq).await?,
///         Live::Message(message) => println!("{message:?}"),
///         _ => {}
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // Taken apart at once, never kept.
#[non_exhaustive]
pub enum Live {
    /// A text message.
    Message(LiveMessage),
    /// A frame of a camera that is [watched](LiveStream::watch).
    Frame(LiveFrame),
}

/// The live connection of a client: messages as [`LiveMessage`], frames as [`LiveFrame`].
///
/// ```no_run
/// # async fn example(hub: iotpi_core::HubClient) -> Result<(), iotpi_core::AnyError> {
/// use iotpi_core::model::event::{Event, LiveMessage, Subscription};
///
/// let mut live = hub.live(&Subscription::new()).await?;
/// while let Some(message) = live.next().await? {
///     if let LiveMessage::Event(event) = message
///         && let Event::Reading { reading } = event.event
///     {
///         println!("{}: {:?}", reading.module_id, reading.outcome);
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LiveStream {
    socket: WebSocketStream<Box<dyn Connection>>,
    url: String,
    /// The time limit of a confirmation.
    deadline: Duration,
    /// Received while a confirmation was awaited.
    received: VecDeque<Live>,
}

impl LiveStream {
    pub(super) async fn open(http: &Http, subscription: &Subscription) -> Result<Self, UplinkError> {
        let mut request = format!("ws{}/api/live", http.url.trim_start_matches("http"))
            .into_client_request()
            .map_err(|e| http.not_a_hub(e.to_string()))?;
        if let Some(value) = http.authorization()? {
            let value: HeaderValue = value;
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        // Its limits, 16 MiB a frame, are above the largest camera frame.
        let connection = http.connect(|_| {}).await?;
        let config = Some(WebSocketConfig::default());
        let upgrade = tokio_tungstenite::client_async_with_config(request, connection, config);
        let (socket, _) = tokio::time::timeout(http.deadline, upgrade)
            .await
            .map_err(|_| http.timed_out(http.deadline))?
            .map_err(|e| refused(http, e))?;
        let mut live =
            Self { socket, url: http.url.clone(), deadline: http.deadline, received: VecDeque::new() };
        live.subscribe(subscription).await?;
        Ok(live)
    }

    /// Replaces the subscription. When it returns the hub has confirmed it with a [`LiveMessage::Recent`], which
    /// [`next`](Self::next) returns, after the messages before it.
    ///
    /// # Errors
    /// [`UplinkError`] if the connection broke, or the hub refused the subscription or did not answer in time.
    ///
    /// # Cancel safety
    /// Not cancel safe: half a message may have been sent.
    pub async fn subscribe(&mut self, subscription: &Subscription) -> Result<(), UplinkError> {
        self.say(&LiveRequest::Subscribe(subscription.clone())).await?;
        let (url, after) = (self.url.clone(), self.deadline);
        let confirmed = tokio::time::timeout(after, self.confirmation()).await;
        confirmed.map_err(|_| UplinkError::Timeout { url: Some(url), after })?
    }

    /// Keeps all messages up to the answer to a subscription.
    async fn confirmation(&mut self) -> Result<(), UplinkError> {
        loop {
            match self.receive_new().await? {
                None => return Err(self.ended()),
                // `NotFound` concerns a watched camera.
                Some(Live::Message(LiveMessage::Problem { problem }))
                    if problem.kind != ErrorKind::NotFound =>
                {
                    return Err(UplinkError::Problem(Box::new(problem)));
                }
                Some(live) => {
                    let is_confirmed = matches!(live, Live::Message(LiveMessage::Recent { .. }));
                    self.received.push_back(live);
                    if is_confirmed {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Replaces the list of watched cameras, 0 to [`MAX_WATCHED_CAMERAS`](crate::model::event::MAX_WATCHED_CAMERAS) of
    /// them. [`Self::receive`] returns the newest frame of each. Each frame must be acknowledged with
    /// [`Self::acknowledge`]: at most two of a camera are sent without. An unknown camera is a
    /// [`LiveMessage::Problem`]; the others are sent.
    ///
    /// # Errors
    /// [`UplinkError`] if the connection broke.
    ///
    /// # Cancel safety
    /// Not cancel safe: half a message may have been sent.
    pub async fn watch(&mut self, cameras: &[WatchRequest]) -> Result<(), UplinkError> {
        self.say(&LiveRequest::Watch { cameras: cameras.to_vec() }).await
    }

    /// Acknowledges a frame and those of its camera before it.
    ///
    /// # Errors
    /// [`UplinkError`] if the connection broke.
    ///
    /// # Cancel safety
    /// Not cancel safe: half a message may have been sent.
    pub async fn acknowledge(&mut self, module_id: &ModuleId, seq: u64) -> Result<(), UplinkError> {
        self.say(&LiveRequest::Shown { module_id: module_id.clone(), seq }).await
    }

    /// Requests the hub's time; a [`LiveMessage::Time`] with the same `client_time` (any finite number)
    /// follows.
    ///
    /// # Errors
    /// [`UplinkError`] if the connection broke.
    ///
    /// # Cancel safety
    /// Not cancel safe: half a message may have been sent.
    pub async fn ask_time(&mut self, client_time: f64) -> Result<(), UplinkError> {
        self.say(&LiveRequest::Time { client_time }).await
    }

    /// The next message; `None` when the hub closed the connection. Frames in between are dropped and not
    /// acknowledged: use [`Self::receive`] to watch cameras.
    ///
    /// # Errors
    /// [`UplinkError`] if the connection broke or the message was not understood.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Option<LiveMessage>, UplinkError> {
        loop {
            match self.receive().await? {
                None => return Ok(None),
                Some(Live::Message(message)) => return Ok(Some(message)),
                Some(Live::Frame(_)) => {}
            }
        }
    }

    /// The next message or frame; `None` when the hub closed the connection. A text message of a type that
    /// this version does not know is a [`LiveMessage::Unknown`]; such a binary message is skipped.
    ///
    /// # Errors
    /// [`UplinkError`] if the connection broke or the message was not understood.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn receive(&mut self) -> Result<Option<Live>, UplinkError> {
        match self.received.pop_front() {
            Some(live) => Ok(Some(live)),
            None => self.receive_new().await,
        }
    }

    async fn receive_new(&mut self) -> Result<Option<Live>, UplinkError> {
        loop {
            match self.socket.next().await {
                None | Some(Ok(Message::Close(_))) => return Ok(None),
                Some(Ok(Message::Text(text))) => {
                    let message = serde_json::from_str(&text).map_err(|e| self.not_a_hub(e.to_string()))?;
                    return Ok(Some(Live::Message(message)));
                }
                Some(Ok(Message::Binary(bytes))) => {
                    match LiveFrame::read(bytes) {
                        Ok(frame) => return Ok(Some(Live::Frame(frame))),
                        // A newer hub may send more than frames.
                        Err(InvalidLiveFrame::Kind(_)) => {}
                        Err(error) => return Err(self.not_a_hub(error.to_string())),
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(self.broken(e)),
            }
        }
    }

    async fn say(&mut self, request: &LiveRequest) -> Result<(), UplinkError> {
        let request = serde_json::to_string(request).map_err(|e| self.not_a_hub(e.to_string()))?;
        self.socket.send(Message::text(request)).await.map_err(|e| self.broken(e))
    }

    fn ended(&self) -> UplinkError {
        UplinkError::Unreachable {
            url: self.url.clone(),
            source: "the hub closed the live connection".into(),
        }
    }

    fn not_a_hub(&self, message: String) -> UplinkError {
        UplinkError::NotAHub { url: self.url.clone(), message }
    }

    fn broken(&self, source: tokio_tungstenite::tungstenite::Error) -> UplinkError {
        UplinkError::Unreachable { url: self.url.clone(), source: Box::new(source) }
    }
}

/// A hub refuses an upgrade with a problem document, like any other request.
fn refused(http: &Http, error: tokio_tungstenite::tungstenite::Error) -> UplinkError {
    if let tokio_tungstenite::tungstenite::Error::Http(response) = &error
        && let Some(body) = response.body()
        && let Ok(problem) = serde_json::from_slice::<Problem>(body)
    {
        return UplinkError::Problem(Box::new(problem));
    }
    http.unreachable(error)
}
