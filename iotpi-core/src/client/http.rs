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
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::{
    client::backoff::{Backoff, pause},
    uplink::UplinkError,
};

/// The maximum size of an answer: a large frame and a margin.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than the hub's 75 s, so that the client closes an idle connection first.
const POOL_IDLE: Duration = Duration::from_secs(60);

/// The text is not the address of a hub.
///
/// ```
/// use iotpi_core::HubClient;
///
/// let error = HubClient::new("hub").unwrap_err();
/// println!("{error}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is not the address of a hub: {message}")]
pub struct InvalidUrl {
    url: String,
    message: &'static str,
}

#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;
#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;

/// A connection outside the pool: TCP, or TLS over it.
pub(super) trait Connection: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin> Connection for C {}

/// The connections to one hub.
#[derive(Clone)]
pub(super) struct Http {
    pub url: String,
    pub deadline: Duration,
    /// The number of retries of a request that may be repeated.
    pub retries: u32,
    token: Option<String>,
    pool: Client<Connector, Full<Bytes>>,
    /// The trusted certificates; none for a hub without TLS.
    #[cfg(feature = "tls")]
    pub roots: tokio_rustls::rustls::RootCertStore,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token must not appear in logs.
        f.debug_struct("Http").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A request before it is sent.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    pub path: String,
    body: Result<Bytes, serde_json::Error>,
    content_type: Option<HeaderValue>,
    headers: Vec<(&'static str, String)>,
    extra_time: Duration,
    /// Whether the request may be repeated after an error.
    is_repeatable: bool,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            is_repeatable: method == Method::GET,
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
            self.path.push_str(&percent_encoded(&value.to_string()));
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

    /// Marks a `GET` request with an effect.
    pub fn without_retries(mut self) -> Self {
        self.is_repeatable = false;
        self
    }

    /// Extends the deadline of the answer, for a long poll.
    pub fn extra_time(mut self, time: Duration) -> Self {
        self.extra_time = time;
        self
    }
}

/// Percent-encodes a text as a value of a query or a segment of a path (RFC 3986, section 2.1).
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

impl Http {
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        let invalid = |message| InvalidUrl { url: url.to_owned(), message };
        let uri: Uri = url.parse().map_err(|_| invalid("it is not a URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") if cfg!(feature = "tls") => {}
            Some("https") => return Err(invalid("https:// needs the feature `tls` of iotpi-core")),
            _ => return Err(invalid("it begins with http://")),
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(invalid("a host is missing"));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(invalid("it has a query or a fragment"));
        }
        #[cfg(feature = "tls")]
        let roots = match uri.scheme_str() {
            Some("https") => super::tls::native_roots(),
            _ => tokio_rustls::rustls::RootCertStore::empty(),
        };
        #[cfg(feature = "tls")]
        let connector = {
            let config = super::tls::config(roots.clone()).ok_or_else(|| invalid("TLS is not available"))?;
            super::tls::connector(tcp_connector(), config)
        };
        #[cfg(not(feature = "tls"))]
        let connector = tcp_connector();
        let pool = pool(connector);
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            deadline: super::DEFAULT_DEADLINE,
            retries: 0,
            token: None,
            pool,
            #[cfg(feature = "tls")]
            roots,
        })
    }

    /// Replaces the trusted certificates.
    #[cfg(feature = "tls")]
    pub fn trust(&mut self, roots: tokio_rustls::rustls::RootCertStore) {
        if let Some(config) = super::tls::config(roots.clone()) {
            self.pool = pool(super::tls::connector(tcp_connector(), config));
            self.roots = roots;
        }
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
        let mut retries = if call.is_repeatable { self.retries } else { 0 };
        let mut backoff = Backoff::default();
        loop {
            let exchange = async {
                let response = self.send(&call).await?;
                self.read(response.into_body()).await
            };
            let answered = tokio::time::timeout(limit, exchange).await;
            match answered.unwrap_or_else(|_| Err(self.timed_out(limit))) {
                Err(error) if retries > 0 && may_pass(&error) => {
                    retries -= 1;
                    tokio::time::sleep(pause(&mut backoff, &error)).await;
                }
                answered => return answered,
            }
        }
    }

    /// Sends the request and returns the body as a stream; the deadline covers only the head.
    pub async fn stream(&self, call: Call) -> Result<Incoming, UplinkError> {
        let limit = self.deadline + call.extra_time;
        let response =
            tokio::time::timeout(limit, self.send(&call)).await.map_err(|_| self.timed_out(limit))??;
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
        self.split_url().0
    }

    /// The path before all paths of the hub, empty or `/PREFIX`.
    pub fn prefix(&self) -> &str {
        self.split_url().1
    }

    fn split_url(&self) -> (&str, &str) {
        let rest = self.url.split_once("://").map_or(&*self.url, |(_, rest)| rest);
        rest.split_at(rest.find('/').unwrap_or(rest.len()))
    }

    /// A new connection outside the pool; `prepare` sets the options of its socket.
    pub async fn connect(
        &self,
        prepare: impl FnOnce(&TcpStream),
    ) -> Result<Box<dyn Connection>, UplinkError> {
        let limit = CONNECT_TIMEOUT.min(self.deadline);
        let connected = tokio::time::timeout(limit, self.open(prepare)).await;
        connected.unwrap_or_else(|_| Err(self.timed_out(limit)))
    }

    async fn open(&self, prepare: impl FnOnce(&TcpStream)) -> Result<Box<dyn Connection>, UplinkError> {
        let authority: Authority =
            self.authority().parse().map_err(|_| self.not_a_hub("its address has no host".to_owned()))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let is_tls = self.url.starts_with("https:");
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let socket = TcpStream::connect((host, port)).await.map_err(|e| self.unreachable(e))?;
        socket.set_nodelay(true).map_err(|e| self.unreachable(e))?;
        prepare(&socket);
        #[cfg(feature = "tls")]
        if is_tls {
            let name = tokio_rustls::rustls::pki_types::ServerName::try_from(host.to_owned());
            let name = name.map_err(|e| self.unreachable(e))?;
            let config = super::tls::config(self.roots.clone());
            let config = config.ok_or_else(|| self.unreachable("TLS is not available"))?;
            let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
            let socket = connector.connect(name, socket).await.map_err(|e| self.unreachable(e))?;
            return Ok(Box::new(socket));
        }
        Ok(Box::new(socket))
    }

    async fn send(&self, call: &Call) -> Result<Response<Incoming>, UplinkError> {
        let mut request = self.request(call.method.clone(), &format!("{}{}", self.url, call.path))?;
        if let Some(content_type) = &call.content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let body = call.body.as_ref();
        let body = body.map_err(|e| self.not_a_hub(format!("the request could not be written: {e}")))?;
        let request = request
            .body(Full::new(body.clone()))
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
        UplinkError::Timeout { url: Some(self.url.clone()), after }
    }

    pub fn not_a_hub(&self, message: String) -> UplinkError {
        UplinkError::NotAHub { url: self.url.clone(), message }
    }
}

fn tcp_connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    // The scheme was checked.
    connector.enforce_http(false);
    connector
}

fn pool(connector: Connector) -> Client<Connector, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .build(connector)
}

/// Whether the same request may succeed later.
fn may_pass(error: &UplinkError) -> bool {
    error.is_transient() && !matches!(error, UplinkError::NotAHub { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_hub_may_have_a_prefix() {
        for (url, authority, prefix) in [
            ("http://127.0.0.1:8000", "127.0.0.1:8000", ""),
            ("http://hub.local", "hub.local", ""),
            ("http://[::1]:8000/", "[::1]:8000", ""),
            ("http://home.example/iotpi/", "home.example", "/iotpi"),
            ("http://home.example:81/a/b", "home.example:81", "/a/b"),
        ] {
            let http = Http::new(url).unwrap();

            assert_eq!((http.authority(), http.prefix()), (authority, prefix), "{url}");
        }
        for url in ["", "hub.local", "ftp://hub", "http://hub?x=1", "http://hub/#a", "http://"] {
            assert!(Http::new(url).is_err(), "{url}");
        }
        assert_eq!(Http::new("https://hub.local").is_ok(), cfg!(feature = "tls"));
    }

    #[test]
    fn all_but_unreserved_characters_are_encoded() {
        assert_eq!(percent_encoded("aZ09-._~"), "aZ09-._~");
        assert_eq!(percent_encoded("a b+c&d=e/ä"), "a%20b%2Bc%26d%3De%2F%C3%A4");
    }

    #[tokio::test]
    async fn a_token_stays_out_of_debug_output() {
        let mut http = Http::new("http://hub.local").unwrap();

        http.set_token("iotpi_secret".to_owned());

        assert!(!format!("{http:?}").contains("secret"));
    }
}
