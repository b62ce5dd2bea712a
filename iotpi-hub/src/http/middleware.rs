//! Processing common to all requests: request id, host and origin checks, security headers.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tower_service::Service as _;

use super::{decompression, problem, proxy::BasePath, until::while_authorized};
use crate::{
    Hub,
    error::{HubError, Result},
    lock::lock,
    ops::authorization::RequestAuthorization,
};

pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Headers of every response, unless the response sets them itself.
pub(crate) static DEFAULT_HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

/// The most bytes of an unread body that are drained before the response is sent.
const MAX_UNREAD_BYTES: usize = 32 * 1024 * 1024;
/// The longest time to drain an unread body.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(2);

/// Handles a request: assigns an id, checks and routes it, turns errors into problem documents, counts the
/// response and adds the common headers. It is a function around the router, because each layer of the router
/// costs a boxed service and a boxed future per request.
pub(crate) async fn answer(hub: &Hub, router: Router, request: Request) -> Response {
    let id = request_id(hub);
    let request = BasePath::strip(&hub.config().http, request);
    let challenge = problem::Challenge::to(request.headers());
    let is_api = request.uri().path().starts_with("/api/");
    let (mut request, unread) = keep_body(request);
    let authorized = RequestAuthorization::default();
    request.extensions_mut().insert(authorized.clone());
    let is_safe = request.method().is_safe();
    let answered = while_authorized(&authorized, is_safe, routed(hub, router, request));
    let answered = AssertUnwindSafe(answered).catch_unwind().await;
    let response = answered.unwrap_or_else(|_| HubError::internal("The hub failed.").into_response());
    if response.status().is_client_error() || response.status().is_server_error() {
        drain(unread).await;
    }
    let mut response = problem::finish(response, &id, challenge);
    hub.inner.metrics.answered(response.status().as_u16());
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID.clone(), id);
    }
    if is_api {
        // Responses contain personal data, which caches must not store.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    for (name, value) in &DEFAULT_HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Checks the request and passes it to the router.
async fn routed(hub: &Hub, mut router: Router, request: Request) -> Response {
    if let Err(error) = check(hub, request.method(), request.uri(), request.headers()) {
        return error.into_response();
    }
    match decompression::decompressed(request) {
        Ok(request) => router.call(request).await.unwrap_or_else(|never| match never {}),
        Err(refusal) => refusal,
    }
}

/// Generates a request id: a version 7 UUID. Its random part is drawn once per hub and then incremented,
/// because asking the operating system for each id would cost more than the rest of the function.
pub(crate) fn request_id(hub: &Hub) -> String {
    let mut rest = [0; 10];
    rest[2..].copy_from_slice(&hub.inner.next_request.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let now = u64::try_from(hub.now().wall.as_micros() / 1000).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(now, &rest).into_uuid().to_string()
}

/// Checks the host name and the origin of a request.
pub(crate) fn check(hub: &Hub, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<()> {
    let host = host(uri, headers)?;
    if !is_own(hub, name_of(&host)) {
        return Err(HubError::permission_denied(format!(
            "This hub does not accept the host name `{}`. Add it to http.allowed_hosts.",
            name_of(&host)
        )));
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let upgrades = headers.contains_key(header::UPGRADE);
    if (!reads || upgrades)
        && let Some(origin) = headers.get(header::ORIGIN)
        && !is_same(origin, &host)
    {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        return Err(HubError::permission_denied(format!(
            "A page of another site sent this request: Origin `{origin}` does not match Host `{host}`. A proxy has to forward the \
             Host of the browser; in nginx: proxy_set_header Host $http_host"
        )));
    }
    Ok(())
}

/// The authority of the request (RFC 9112 section 3.3): that of an absolute target, else the `Host` header.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<String> {
    if headers.get_all(header::HOST).iter().count() > 1 {
        return Err(HubError::invalid_argument(
            "A request must have one `Host` header only (RFC 9112, 3.2).",
        ));
    }
    let authority = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(header::HOST).and_then(|v| v.to_str().ok()),
    };
    let authority = authority.filter(|host| !host.is_empty() && !host.contains('@'));
    authority
        .map(str::to_ascii_lowercase)
        .ok_or_else(|| HubError::invalid_argument("The `Host` header is missing."))
}

/// Removes the port from a host. An IPv6 address keeps its brackets.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(']') => name,
        _ => host,
    }
}

fn is_own(hub: &Hub, name: &str) -> bool {
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    bare.parse::<std::net::IpAddr>().is_ok()
        || name == "localhost"
        || name == hub.inner.host_name
        || name.strip_suffix(".local").is_some_and(|name| name == hub.inner.host_name)
        || hub.config().http.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

/// Whether the origin of a page is the host itself. The scheme is not compared, because a proxy may terminate
/// TLS.
fn is_same(origin: &HeaderValue, host: &str) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let authority = authority.to_ascii_lowercase();
    let plain = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_owned();
    plain(&authority) == plain(host)
}

/// A request body that can be recovered after the handler returned without reading it.
type KeptBody = Arc<Mutex<Body>>;

struct SharedBody(KeptBody);

impl http_body::Body for SharedBody {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, axum::Error>>> {
        std::pin::Pin::new(&mut *lock(&self.0)).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        lock(&self.0).size_hint()
    }
}

fn keep_body(request: Request) -> (Request, Option<KeptBody>) {
    // A client that waits for `100 Continue` has not sent the body, and should not.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return (request, None);
    }
    let (parts, body) = request.into_parts();
    let kept = Arc::new(Mutex::new(body));
    (Request::from_parts(parts, Body::new(SharedBody(Arc::clone(&kept)))), Some(kept))
}

/// Reads the rest of the body. A client that is still sending when the connection closes would see a reset
/// instead of the problem document.
async fn drain(unread: Option<KeptBody>) {
    let Some(mut body) = unread
        .and_then(|kept| Arc::try_unwrap(kept).ok())
        .map(|kept| kept.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    else {
        return;
    };
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > MAX_UNREAD_BYTES {
                return;
            }
        }
    };
    // A client that takes longer gets the reset.
    let _ = tokio::time::timeout(UNREAD_TIMEOUT, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_part_of_the_host_name() {
        for (host, name) in [
            ("localhost", "localhost"),
            ("localhost:8000", "localhost"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[::1]:8000", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(name_of(host), name);
        }
    }

    #[test]
    fn only_the_hosts_own_pages_are_of_the_same_origin() {
        let same = |origin: &str, host: &str| is_same(&HeaderValue::try_from(origin).unwrap(), host);

        assert!(same("http://hub.local:8000", "hub.local:8000"));
        assert!(same("http://hub.local", "hub.local"));
        assert!(same("http://hub.local:80", "hub.local"));
        assert!(same("https://hub.example", "hub.example"));
        for origin in ["http://hub.local:8001", "http://evil.example", "null", "http://hub.local", "file://"]
        {
            assert!(!same(origin, "hub.local:8000"), "{origin}");
        }
    }
}
