//! The accept loop: our own, because a hub has to bound its connections, drop the slow and leave in time.

mod activity;
mod answer;
mod stream;

use std::{
    convert::Infallible,
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use activity::{Activity, Ended, Phase};
use answer::{Answer, Content};
use axum::{Router, body::Body};
use http::{HeaderValue, Method, Request, Response, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use stream::TrackedStream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::{
    Hub,
    admission::{ConnectionPermit, Connections, busy},
    metrics::GaugeGuard,
    http::{
        answer as answer_to, line,
        mjpeg::Mjpeg,
        problem,
        proxy::{BasePath, Client},
        router,
    },
};

/// Requests in flight have so long to finish when the hub stops.
pub(crate) const DRAIN: Duration = Duration::from_secs(2);
/// hyper's buffers for each connection. Also how far a viewer's next frame is fetched ahead: small enough that newest wins.
const BUFFER_BYTES: usize = 64 * 1024;
/// What may wait unsent in the kernel for each connection. Without it the kernel would queue megabytes of frames for a slow
/// viewer (tcp(7), TCP_NOTSENT_LOWAT).
const UNSENT_BYTES: u32 = 128 * 1024;
/// What the kernel keeps for each connection until the other side has it; it takes twice as much memory for it (socket(7),
/// SO_SNDBUF). Left to itself it grows to 4 MiB, seconds of pictures, for a viewer that stalls. On a line with 50 ms there and
/// back this still carries 20 Mbit/s.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Connections taken at once, and then a second: a herd is taken in one by one.
const ACCEPT_BURST: u32 = 256;
const ACCEPTS_A_SECOND: u32 = 1000;
/// After accepting failed (out of file descriptors, say), a moment for connections to go away.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Hub {
    /// Serves everybody who connects, until the hub [stops](Hub::shutdown). Answers once the last request is.
    pub async fn serve(self, listener: TcpListener) {
        let router = router(self.clone());
        let connections = Connections::new(self.config().http.max_connections as usize);
        // Turning a connection away takes a moment too, and that many moments at once are enough.
        let refusals = Arc::new(Semaphore::new(64));
        let mut pace = AcceptRate::new();
        loop {
            pace.next().await;
            let accepted = tokio::select! {
                () = self.stopping().cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a connection could not be accepted"
                    );
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let is_proxy = Client::is_trusted(&self.config().http.trusted_proxies, peer.ip());
            if let Some(permit) = connections.enter(peer.ip(), is_proxy) {
                let connection =
                    connection(self.clone(), router.clone(), Arc::clone(&connections), stream, permit);
                self.inner.tasks.spawn(connection);
            } else {
                self.inner.metrics.connections_refused.inc();
                if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    self.inner.tasks.spawn(refuse(stream, permit, connections.limit()));
                }
            }
        }
        drop(listener);
        // All of them end within `DRAIN`.
        connections.closed().await;
    }
}

/// Whether the answer may last for minutes: a camera stream, a fresh snapshot, a long poll. Such a request ends as soon as its
/// client closes or half-closes the connection; every other one is carried out and answered.
fn is_long(request: &Request<Incoming>) -> bool {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let asks = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    request.method() == Method::GET
        && match path {
            "/api/camera/stream" => true,
            "/api/camera/snapshot" => asks("fresh"),
            _ => path.starts_with("/api/modules/") && path.ends_with("/commands") && asks("wait"),
        }
}

/// Lets the accept loop go on when its time has come.
struct AcceptRate {
    left: f64,
    at: Instant,
}

impl AcceptRate {
    fn new() -> Self {
        Self { left: f64::from(ACCEPT_BURST), at: Instant::now() }
    }

    async fn next(&mut self) {
        let since = self.at.elapsed().as_secs_f64();
        self.at = Instant::now();
        self.left = (self.left + since * f64::from(ACCEPTS_A_SECOND)).min(f64::from(ACCEPT_BURST));
        if self.left < 1.0 {
            tokio::time::sleep(Duration::from_secs(1) / ACCEPTS_A_SECOND).await;
        }
        self.left -= 1.0;
    }
}

/// One connection, from accept to close. An upgraded one goes on in its own task and gives its place back when that ends.
async fn connection(
    hub: Hub,
    router: Router,
    connections: Arc<Connections>,
    stream: TcpStream,
    permit: ConnectionPermit,
) {
    let permit = Arc::new(permit);
    let evicted = permit.evicted().clone();
    let entered = Arc::new(GaugeGuard::new(&hub.inner.metrics.connections));
    // Best effort: a connection without these is slower, not wrong.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES);
    let metrics = Arc::clone(&hub.inner.metrics);
    let serve = async {
        let http = &hub.config().http;
        let patience = line::Patience { head: http.header_timeout(), idle: http.idle_timeout() };
        let is_scarce = || connections.is_scarce();
        match line::take(&hub, stream, &permit, patience, is_scarce).await {
            line::End::Handed(stream, read) => {
                let activity = Arc::new(Activity::new());
                let read = read.freeze();
                let permits = (Arc::clone(&permit), entered);
                let watched =
                    TrackedStream { stream, read, activity: Arc::clone(&activity), permit: permits };
                requests(&hub, &router, &connections, watched, activity, &permit).await;
            }
            line::End::Closed => {}
        }
    };
    tokio::select! {
        () = serve => {}
        () = evicted.cancelled() => {
            metrics.connections_evicted.inc();
        }
    }
}

/// The requests of a connection, one after the other.
async fn requests(
    hub: &Hub,
    router: &Router,
    connections: &Connections,
    watched: TrackedStream,
    activity: Arc<Activity>,
    permit: &Arc<ConnectionPermit>,
) {
    let http = &hub.config().http;
    let service = service_fn(|request: Request<Incoming>| {
        let request = BasePath::strip(http, request);
        activity.set(Phase::Busy);
        activity.is_long.store(is_long(&request), Relaxed);
        let ended = Ended(Arc::clone(&activity));
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        async move {
            if reads && ended.0.is_unheard.load(Relaxed) {
                // Nobody can receive the answer, and the request changes nothing.
                let mut nothing = Response::new(Body::empty());
                *nothing.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                return Ok(nothing.map(|body| Answer { body: Content::Body(body), reads, ended }));
            }
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Arc::clone(permit));
            let mut response = answer_to(hub, router.clone(), request).await;
            permit.finish_request();
            if connections.is_scarce() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            let parts = response.extensions().get::<Mjpeg>().and_then(Mjpeg::take);
            Ok::<_, Infallible>(response.map(|body| Answer {
                body: parts.map_or(Content::Body(body), Content::Parts),
                reads,
                ended,
            }))
        }
    });
    let serving = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .max_headers(64)
        // A client that has sent its request may close its side and still read the answer (RFC 9112 section 9.6).
        .half_close(true)
        .serve_connection(TokioIo::new(watched), service)
        .with_upgrades();
    tokio::pin!(serving);
    let peer = permit.address();
    loop {
        let deadline = activity.deadline(http.header_timeout(), http.idle_timeout());
        tokio::select! {
            done = &mut serving => {
                if let Err(error) = done {
                    tracing::debug!(%peer, error = &error as &dyn std::error::Error, "connection broke");
                }
                return;
            }
            () = hub.stopping().cancelled() => break,
            () = tokio::time::sleep_until(deadline) => {
                if activity.is_stalled() {
                    hub.inner.metrics.connections_stalled.inc();
                    tracing::info!(%peer, "a client that does not read its answer was disconnected");
                    return;
                }
                if activity.deadline(http.header_timeout(), http.idle_timeout()) <= Instant::now() {
                    tracing::debug!(%peer, "connection too slow or idle");
                    return;
                }
            }
        }
    }
    serving.as_mut().graceful_shutdown();
    if timeout(DRAIN, serving).await.is_err() {
        tracing::warn!(%peer, "a request did not finish in time");
    }
}

/// Says that there is no room, and closes.
async fn refuse(mut stream: TcpStream, _permit: OwnedSemaphorePermit, max: usize) {
    let error = busy(format!("{max} connections are open already; try again later"));
    let answer: Response<String> = problem::into_response(&error);
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nretry-after: {}\r\nconnection: close\r\n\r\n{}",
        answer.status(),
        header(header::CONTENT_TYPE),
        answer.body().len(),
        header(header::RETRY_AFTER),
        answer.body(),
    );
    let say = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would be a reset, which may overtake the answer.
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(Duration::from_secs(1), say).await;
}
