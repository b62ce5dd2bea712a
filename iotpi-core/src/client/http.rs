//! A request and its answer: deadline, token, decoding of problems.

use std::{fmt::Display, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
    request,
    uri::Authority,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::TcpStream;

use crate::uplink::UplinkError;

/// The maximum size of an answer: a large frame and a margin.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than the hub's 75 s, so that the client closes an idle connection first.
const POOL_IDLE: Duration = Duration::from_secs(60);

/// The text is not the address of a hub.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is not the address of a hub: {message}")]
pub struct InvalidUrl {
    url: String,
    message: &'static str,
}

/// The connections to one hub.
#[derive(Clone)]
pub(super) struct Http {
    pub url: String,
    pub deadline: Duration,
    token: Option<String>,
    pool: Client<HttpConnector, Full<Bytes>>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token must not appear in logs.
        f.debug_struct("Http").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A request before it is sent.
pub(super) struct Call {
    method: Method,
    pub path: String,
    body: Result<Bytes, serde_json::Error>,
    content_type: Option<HeaderValue>,
    headers: Vec<(&'static str, String)>,
    extra_time: Duration,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: Ok(Bytes::new()),
            content_type: None,
            headers: Vec::new(),
            extra_time: Duration::ZERO,
        }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// Adds `name=value`, if there is a value.
    pub fn query(mut self, name: &str, value: Option<impl Display>) -> Self {
        if let Some(value) = value {
            self.path.push(if self.path.contains('?') { '&' } else { '?' });
            self.path.push_str(name);
            self.path.push('=');
            self.path.extend(form_urlencoded::byte_serialize(value.to_string().as_bytes()));
        }
        self
    }

    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(body).map(Bytes::from);
        self.content_type = Some(HeaderValue::from_static("application/json"));
        self
    }

    pub fn jpeg(mut self, body: Bytes) -> Self {
        self.body = Ok(body);
        self.content_type = Some(HeaderValue::from_static("image/jpeg"));
        self
    }

    /// Sets an idempotency key.
    pub fn once(self, key: &str) -> Self {
        self.header("idempotency-key", key.to_owned())
    }

    pub fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Extends the deadline of the answer, for a long poll.
    pub fn extra_time(mut self, time: Duration) -> Self {
        self.extra_time = time;
        self
    }
}

/// Percent-encodes a text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

impl Http {
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        let invalid = |message| InvalidUrl { url: url.to_owned(), message };
        let uri: Uri = url.parse().map_err(|_| invalid("it is not a URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(invalid("this client speaks plain http")),
            _ => return Err(invalid("it begins with http://")),
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(invalid("a host is missing"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(invalid("a hub lives at the root: http://HOST:PORT"));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let pool = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(connector);
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            deadline: super::DEFAULT_DEADLINE,
            token: None,
            pool,
        })
    }

    pub fn set_token(&mut self, token: String) {
        self.token = Some(token);
    }

    /// The value of the `Authorization` header, if there is a token.
    pub fn authorization(&self) -> Result<Option<HeaderValue>, UplinkError> {
        let Some(token) = &self.token else { return Ok(None) };
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| self.not_a_hub("the token has characters that no token has".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Sends the request and parses a JSON answer.
    pub async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, UplinkError> {
        let body = self.bytes(call).await?;
        serde_json::from_slice(&body)
            .map_err(|e| self.not_a_hub(format!("its answer was not understood: {e}")))
    }

    /// Sends the request and reads the complete answer.
    pub async fn bytes(&self, call: Call) -> Result<Bytes, UplinkError> {
        let limit = self.deadline + call.extra_time;
        let exchange = async {
            let response = self.send(call).await?;
            self.read(response.into_body()).await
        };
        tokio::time::timeout(limit, exchange).await.map_err(|_| self.timed_out(limit))?
    }

    /// Sends the request and returns the body as a stream; the deadline covers only the head.
    pub async fn stream(&self, call: Call) -> Result<Incoming, UplinkError> {
        let limit = self.deadline + call.extra_time;
        let response =
            tokio::time::timeout(limit, self.send(call)).await.map_err(|_| self.timed_out(limit))??;
        Ok(response.into_body())
    }

    /// The common head of all requests.
    pub fn request(&self, method: Method, uri: &str) -> Result<request::Builder, UplinkError> {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(ACCEPT, "application/json, application/problem+json, image/jpeg, */*;q=0.1")
            .header(USER_AGENT, concat!("iotpi/", env!("CARGO_PKG_VERSION")));
        Ok(match self.authorization()? {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        })
    }

    /// `HOST[:PORT]`.
    pub fn authority(&self) -> &str {
        self.url.split_once("://").map_or(&self.url, |(_, authority)| authority)
    }

    /// A new connection outside the pool.
    pub async fn connect(&self) -> Result<TcpStream, UplinkError> {
        let authority: Authority =
            self.authority().parse().map_err(|_| self.not_a_hub("its address has no host".to_owned()))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let connecting = TcpStream::connect((host, authority.port_u16().unwrap_or(80)));
        let limit = CONNECT_TIMEOUT.min(self.deadline);
        let connected = tokio::time::timeout(limit, connecting).await.map_err(|_| self.timed_out(limit))?;
        let socket = connected.map_err(|e| self.unreachable(e))?;
        socket.set_nodelay(true).map_err(|e| self.unreachable(e))?;
        Ok(socket)
    }

    async fn send(&self, call: Call) -> Result<Response<Incoming>, UplinkError> {
        let mut request = self.request(call.method, &format!("{}{}", self.url, call.path))?;
        if let Some(content_type) = call.content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let body = call.body.map_err(|e| self.not_a_hub(format!("the request could not be written: {e}")))?;
        let request = request
            .body(Full::new(body))
            .map_err(|e| self.not_a_hub(format!("the request could not be built: {e}")))?;
        let response = self.pool.request(request).await.map_err(|e| self.unreachable(e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.read(response.into_body()).await?;
        Err(self.refusal(status, &body))
    }

    pub async fn read(&self, body: Incoming) -> Result<Bytes, UplinkError> {
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|e| self.unreachable(e))
    }

    pub fn refusal(&self, status: StatusCode, body: &[u8]) -> UplinkError {
        match serde_json::from_slice(body) {
            Ok(problem) => UplinkError::Problem(Box::new(problem)),
            Err(_) => self.not_a_hub(format!("it answered {status} without a problem document")),
        }
    }

    pub fn unreachable(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> UplinkError {
        UplinkError::Unreachable { url: self.url.clone(), source: source.into() }
    }

    pub fn timed_out(&self, after: Duration) -> UplinkError {
        UplinkError::Timeout { url: self.url.clone(), after }
    }

    pub fn not_a_hub(&self, message: String) -> UplinkError {
        UplinkError::NotAHub { url: self.url.clone(), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_hub_has_no_path() {
        for url in ["http://127.0.0.1:8000", "http://hub.local", "http://[::1]:8000/"] {
            assert!(Http::new(url).is_ok(), "{url}");
        }
        for url in
            ["", "hub.local", "https://hub.local", "ftp://hub", "http://hub/api", "http://hub?x=1", "http://"]
        {
            assert!(Http::new(url).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_token_stays_out_of_debug_output() {
        let mut http = Http::new("http://hub.local").unwrap();

        http.set_token("iotpi_secret".to_owned());

        assert!(!format!("{http:?}").contains("secret"));
    }
}
