//! The live WebSocket.

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, header::AUTHORIZATION};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

use super::http::Http;
use crate::{LiveMessage, LiveRequest, Problem, Subscription, UplinkError};

/// The live line of one client: messages as [`LiveMessage`].
#[derive(Debug)]
pub struct LiveStream {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    url: String,
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
        let connect =
            tokio_tungstenite::connect_async_with_config(request, Some(WebSocketConfig::default()), true);
        let (socket, _) = tokio::time::timeout(http.deadline, connect)
            .await
            .map_err(|_| http.timed_out(http.deadline))?
            .map_err(|e| refused(http, e))?;
        let mut live = Self { socket, url: http.url.clone() };
        live.subscribe(subscription).await?;
        Ok(live)
    }

    /// Replaces the subscription; a [`LiveMessage::Recent`] follows.
    ///
    /// # Errors
    /// [`UplinkError`] when the line broke.
    ///
    /// # Cancel safety
    /// Not cancel safe: half a message may have been sent.
    pub async fn subscribe(&mut self, subscription: &Subscription) -> Result<(), UplinkError> {
        let request = serde_json::to_string(&LiveRequest::Subscribe(subscription.clone()))
            .map_err(|e| UplinkError::NotAHub { url: self.url.clone(), message: e.to_string() })?;
        self.socket.send(Message::text(request)).await.map_err(|e| self.broken(e))
    }

    /// The next message; nothing when the hub closed the line.
    ///
    /// # Errors
    /// [`UplinkError`] when the line broke or the message was not understood.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Option<LiveMessage>, UplinkError> {
        loop {
            match self.socket.next().await {
                None | Some(Ok(Message::Close(_))) => return Ok(None),
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text)
                        .map(Some)
                        .map_err(|e| UplinkError::NotAHub { url: self.url.clone(), message: e.to_string() });
                }
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(self.broken(e)),
            }
        }
    }

    fn broken(&self, source: tokio_tungstenite::tungstenite::Error) -> UplinkError {
        UplinkError::Unreachable { url: self.url.clone(), source: Box::new(source) }
    }
}

/// A hub refuses an upgrade with a problem document, as it does any request.
fn refused(http: &Http, error: tokio_tungstenite::tungstenite::Error) -> UplinkError {
    if let tokio_tungstenite::tungstenite::Error::Http(response) = &error
        && let Some(body) = response.body()
        && let Ok(problem) = serde_json::from_slice::<Problem>(body)
    {
        return UplinkError::Problem(Box::new(problem));
    }
    http.unreachable(error)
}
