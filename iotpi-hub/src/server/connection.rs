//! One connection, from accept to close.

use std::{convert::Infallible, future::poll_fn, sync::Arc};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tower_service::Service as _;

use super::{
    fast_frames::{self, Outcome},
    limits::{ConnectionState, Phase, RequestGuard},
    response_body::{Content, ResponseBody},
    socket::TrackedStream,
};
use crate::{
    Hub,
    admission::{ConnectionPermit, Connections},
    http::{answer, mjpeg::Mjpeg},
    hub::DRAIN_TIMEOUT,
    metrics::GaugeGuard,
    ops::authorization::Authorization,
};

/// Size of hyper's buffers for each connection. It also bounds how far ahead the next frame of a viewer is fetched, so it is
/// small enough that the newest frame wins.
const BUFFER_BYTES: usize = 64 * 1024;
/// Maximum of unsent bytes in the kernel for each connection. Without it the kernel would queue megabytes of frames for a slow
/// viewer (tcp(7), TCP_NOTSENT_LOWAT).
const UNSENT_BYTES: u32 = 128 * 1024;
/// Send buffer of the kernel for each connection, which takes twice this memory (socket(7), SO_SNDBUF). Left to itself it
/// grows to 4 MiB, seconds of frames, for a viewer that stalls. With a round trip of 50 ms it still carries 20 Mbit/s.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
const MAX_HEADERS: usize = 64;

/// What answers the requests of a connection.
#[derive(Clone)]
pub(super) enum App {
    /// The hub alone, with this router.
    Hub(Router),
    /// A router of the program.
    Program(Router),
}

impl App {
    async fn answer(&self, hub: &Hub, request: Request<Body>) -> Response<Body> {
        match self {
            Self::Hub(router) => answer(hub, router.clone(), request).await,
            Self::Program(router) => {
                router.clone().call(request).await.unwrap_or_else(|never| match never {})
            }
        }
    }
}

/// Serves a connection. An upgraded connection continues in a task of its own, which holds the permit until it ends.
pub(super) async fn serve_connection(
    hub: Hub,
    app: App,
    connections: Arc<Connections>,
    stream: TcpStream,
    permit: ConnectionPermit,
) {
    let permit = Arc::new(permit);
    let evicted = permit.evicted().clone();
    let counted = GaugeGuard::new(&hub.inner.metrics.connections);
    // Best effort: a connection without these options is slower, not wrong.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES);
    let serve = async {
        let outcome = match app {
            App::Hub(_) => fast_frames::serve(&hub, stream, &permit, || connections.is_scarce()).await,
            App::Program(_) => Outcome::HandedOver(stream, Bytes::new()),
        };
        if let Outcome::HandedOver(stream, read) = outcome {
            let state = Arc::new(ConnectionState::new());
            let stream = TrackedStream::new(stream, read, Arc::clone(&state), Arc::clone(&permit), counted);
            serve_requests(&hub, &app, &connections, stream, state, &permit).await;
        }
    };
    tokio::select! {
        () = serve => {}
        () = evicted.cancelled() => {
            hub.inner.metrics.connections_evicted.inc();
        }
    }
}

/// Serves the requests of a connection, one after the other.
async fn serve_requests(
    hub: &Hub,
    app: &App,
    connections: &Connections,
    stream: TrackedStream,
    state: Arc<ConnectionState>,
    permit: &Arc<ConnectionPermit>,
) {
    let http = &hub.config().http;
    let service = service_fn(|request: Request<Incoming>| {
        state.set_phase(Phase::Busy);
        let guard = RequestGuard { state: Arc::clone(&state), permit: Arc::clone(permit) };
        let is_read_only = matches!(*request.method(), Method::GET | Method::HEAD);
        async move {
            if is_read_only && guard.state.is_write_broken() {
                // The response cannot be received, and the request changes nothing.
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                return Ok(response.map(|body| ResponseBody::new(Content::Body(body), is_read_only, guard)));
            }
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Arc::clone(permit));
            let mut response = app.answer(hub, request).await;
            permit.finish_request();
            if connections.is_scarce() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            if let Some(authorization) = response.extensions_mut().remove::<Authorization>() {
                guard.state.set_authorization(authorization);
            }
            let parts = response.extensions().get::<Mjpeg>().and_then(Mjpeg::take);
            Ok::<_, Infallible>(response.map(|body| {
                let content = parts.map_or(Content::Body(body), Content::Parts);
                ResponseBody::new(content, is_read_only, guard)
            }))
        }
    });
    let serving = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .max_headers(MAX_HEADERS)
        // A client that has sent its request may close its side and still read the response (RFC 9112, section 9.6).
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(serving);
    let peer = permit.address();
    loop {
        let deadline = state.deadline(http.header_timeout(), http.idle_timeout());
        tokio::select! {
            // The requests come first: they set the state that the other branches look at.
            biased;
            done = &mut serving => {
                if let Err(error) = done {
                    tracing::debug!(%peer, error = &error as &dyn std::error::Error, "connection broke");
                }
                return;
            }
            () = hub.stopping().cancelled() => break,
            () = poll_fn(|context| state.poll_revoked(context)) => {}
            () = tokio::time::sleep_until(deadline) => {
                if state.is_stalled() {
                    hub.inner.metrics.connections_stalled.inc();
                    tracing::info!(%peer, "disconnected a client that does not read its response");
                    return;
                }
                if state.deadline(http.header_timeout(), http.idle_timeout()) <= Instant::now() {
                    tracing::debug!(%peer, "closed a slow or idle connection");
                    return;
                }
            }
        }
    }
    serving.as_mut().graceful_shutdown();
    if timeout(DRAIN_TIMEOUT, serving).await.is_err() {
        tracing::warn!(%peer, "a request did not finish before the hub stopped");
    }
}
