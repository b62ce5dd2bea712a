//! The opening handshake of a WebSocket (RFC 6455, section 4.2).

use axum::{
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    Hub,
    error::{HubError, Result},
};

/// A request that may become a WebSocket.
pub(super) struct Upgrade {
    accept: String,
    upgraded: OnUpgrade,
}

impl FromRequestParts<Hub> for Upgrade {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, _: &Hub) -> Result<Self> {
        let wrong = |reason| HubError::invalid_argument(format!("this path speaks WebSocket: {reason}"));
        let headers = &parts.headers;
        if parts.method != Method::GET {
            return Err(wrong("the method is GET"));
        }
        if !contains_token(headers, header::CONNECTION, "upgrade")
            || !contains_token(headers, header::UPGRADE, "websocket")
        {
            return Err(wrong("the headers `connection: upgrade` and `upgrade: websocket` are missing"));
        }
        if !contains_token(headers, header::SEC_WEBSOCKET_VERSION, "13") {
            return Err(wrong("the header `sec-websocket-version` is 13"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let key = key.ok_or_else(|| wrong("the header `sec-websocket-key` is missing"))?;
        let accept = derive_accept_key(key.as_bytes());
        let upgraded = parts.extensions.remove();
        let upgraded = upgraded.ok_or_else(|| wrong("over HTTP/1.1, on a connection of its own"))?;
        Ok(Self { accept, upgraded })
    }
}

impl Upgrade {
    /// The response, and a future of the connection once it has been sent.
    pub(super) fn accept(self) -> (Response, OnUpgrade) {
        let mut response = (StatusCode::SWITCHING_PROTOCOLS, Body::empty()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        // Base64 is always valid in a header.
        if let Ok(accept) = HeaderValue::try_from(self.accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        (response, self.upgraded)
    }
}

/// Whether a comma-separated header contains a token.
fn contains_token(headers: &HeaderMap, header: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(header).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}
