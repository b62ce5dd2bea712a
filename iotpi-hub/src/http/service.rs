//! The hub as a service of the program's own HTTP server.
//!
//! Deliberately absent: limits on connections, which only an accept loop can have. `server/` has one.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::{Body as _, Frame, SizeHint};
use tower_service::Service;

use super::{middleware::answer, mjpeg::Mjpeg, proxy::Client, router};
use crate::{
    Hub,
    admission::{ConnectionPermit, busy},
    error::HubError,
};

impl Hub {
    /// The API, the live WebSocket, the dashboard and the API page as a router, to be merged with the routes
    /// of the program or nested below a path of it, on any HTTP/1.1 server. The [crate] documentation has
    /// examples.
    ///
    /// It is the fallback of the router, so it answers every path that no other route has, and cannot be
    /// merged with a router that has a fallback. Use `nest_service` to nest it: `nest` would not serve the
    /// path with a trailing slash. Links, cookies, the live WebSocket and the dashboard work below the path
    /// at which it is nested. A proxy in front of the program that removes a part of the path has to send it
    /// as `X-Forwarded-Prefix`.
    ///
    /// The server has to pass on the addresses of clients, as
    /// [`into_make_service_with_connect_info`](Router::into_make_service_with_connect_info) does. Otherwise
    /// all clients share one rate limit of failed logins, and `http.trusted_proxies` has no effect.
    ///
    /// [`Self::serve_router`] serves the router with all limits of the hub. Another server lacks these parts
    /// of them:
    /// - `http.max_connections` limits the requests in progress instead of the connections, and
    ///   `http.header_timeout_secs` and `http.idle_timeout_secs` have no effect: idle and slow clients keep their connections.
    /// - A client that does not read its response is not disconnected, and a slow viewer of a camera receives
    ///   older frames, because the kernel's send buffer is not limited.
    /// - A request is cancelled when its client disconnects, even if it was received completely. Its change
    ///   is then made completely or not at all.
    /// - Frames are received through the general HTTP parser, which copies each once more.
    /// - [`Self::shutdown`] ends the responses of the hub, and answers further requests with `Unavailable`.
    ///   Closing the connections is up to the server.
    pub fn router(&self) -> Router {
        Router::new().fallback_service(HubService::new(self.clone()))
    }
}

/// Answers the requests that the program's router passes on.
#[derive(Clone)]
pub(crate) struct HubService {
    hub: Hub,
    router: Router,
}

impl HubService {
    fn new(hub: Hub) -> Self {
        Self { router: router(hub.clone()), hub }
    }

    async fn respond(self, mut request: Request) -> Response {
        let Self { hub, router } = self;
        // The token comes first: a hub that stops waits for it.
        let _in_progress = hub.inner.tasks.token();
        if hub.stopping().is_cancelled() {
            return stopping().into_response();
        }
        // A permit of the accept loop, of this hub or of another one.
        if request.extensions().get::<Arc<ConnectionPermit>>().is_some() {
            let response = tokio::select! {
                biased;
                response = answer(&hub, router, request) => response,
                () = hub.drained() => stopping().into_response(),
            };
            return with_parts(response);
        }
        let Some(permit) = permit(&hub, &request).map(Arc::new) else {
            return too_many_requests().into_response();
        };
        request.extensions_mut().insert(Arc::clone(&permit));
        let response = tokio::select! {
            biased;
            response = answer(&hub, router, request) => response,
            () = permit.evicted().cancelled() => too_many_requests().into_response(),
            () = hub.drained() => stopping().into_response(),
        };
        permit.finish_request();
        let response = with_parts(response);
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        let ended = {
            let hub = hub.clone();
            Box::pin(async move { hub.drained().await })
        };
        response.map(|body| Body::new(PermittedBody { body, ended, _permit: permit }))
    }
}

impl Service<Request> for HubService {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.respond(request).await) })
    }
}

/// A permit for one request, unless too many are in progress.
fn permit(hub: &Hub, request: &Request) -> Option<ConnectionPermit> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let is_proxy = peer.is_none_or(|peer| Client::is_trusted(&hub.config().http.trusted_proxies, peer));
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    hub.inner.requests.enter(peer, is_proxy)
}

fn too_many_requests() -> HubError {
    busy("too many requests are in progress; try again later")
}

fn stopping() -> HubError {
    HubError::unavailable("The hub is stopping.")
}

/// Replaces the empty body of an MJPEG stream by its parts.
fn with_parts(mut response: Response) -> Response {
    match response.extensions_mut().remove::<Mjpeg>().and_then(|stream| stream.take()) {
        Some(parts) => {
            let slices = parts.flat_map(|chunk| stream::iter(chunk.into_slices()));
            response.map(|_| Body::from_stream(slices.map(Ok::<_, Infallible>)))
        }
        None => response,
    }
}

/// A body that is produced while it is sent. It holds the permit of its request, and fails when the hub has
/// stopped.
struct PermittedBody {
    body: Body,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    _permit: Arc<ConnectionPermit>,
}

impl http_body::Body for PermittedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        self.ended.as_mut().poll(context).map(|()| Some(Err(axum::Error::new(stopping()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
