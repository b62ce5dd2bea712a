//! The accept loop: our own, because a hub has to bound its connections, drop the slow and leave in time.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::{
    Hub,
    http::{
        Peer, answer, line,
        mjpeg::{self, Mjpeg, Piece},
        problem,
        proxy::Base,
        router,
    },
    lock::lock,
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
/// Bytes of deliveries of readings that are being read and stored at the same time; further ones wait for their turn before
/// their bodies are read. When a thousand modules come back with a backlog, this bounds what they cost in memory; single
/// readings (150 bytes) never meet it.
const DELIVERY_BYTES: u32 = 4 * 1024 * 1024;
/// A delivery that does not say how long it is counts as so much, and one that says too much as the longest there may be.
const UNKNOWN_BYTES: u32 = 64 * 1024;
const MOST_BYTES: u32 = 256 * 1024;
/// How long a delivery waits for its turn, well within a module's deadline of 10 s.
const DELIVERY_WAIT: Duration = Duration::from_secs(4);
/// Who is sent away comes back after 1 to so many seconds, at random, and not all at once.
const RETRY_AFTER_SECS: u32 = 10;
/// Connections taken at once, and then a second: a herd is taken in one by one.
const ACCEPT_BURST: u32 = 256;
const ACCEPTS_A_SECOND: u32 = 1000;
/// After accepting failed (out of file descriptors, say), a moment for connections to go away.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Hub {
    /// Serves everybody who connects, until the hub [stops](Hub::shutdown). Answers once the last request is.
    pub async fn serve(self, listener: TcpListener) {
        let router = router(self.clone());
        let max = self.config().http.max_connections as usize;
        let permits = Arc::new(Semaphore::new(max));
        // Turning somebody away takes a moment too, and that many moments at once are enough.
        let refusals = Arc::new(Semaphore::new(64));
        let room = Room {
            permits: Arc::clone(&permits),
            max,
            deliveries: Arc::new(Semaphore::new(DELIVERY_BYTES as usize)),
        };
        let mut pace = Pace::new();
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
            if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
                self.inner.tasks.spawn(connection(
                    self.clone(),
                    router.clone(),
                    room.clone(),
                    stream,
                    peer,
                    permit,
                ));
            } else {
                self.inner.metrics.connections_refused.add(1);
                if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    self.inner.tasks.spawn(refuse(stream, permit, max));
                }
            }
        }
        drop(listener);
        // Everybody gets their permit back within `DRAIN`.
        let all = u32::try_from(max).unwrap_or(u32::MAX);
        let _ = permits.acquire_many(all).await;
    }
}

/// What connections share.
#[derive(Clone)]
struct Room {
    permits: Arc<Semaphore>,
    max: usize,
    deliveries: Arc<Semaphore>,
}

impl Room {
    /// Whether connections get scarce: then each is closed after its answer, so that idle ones hold no place.
    fn is_scarce(&self) -> bool {
        self.permits.available_permits() < self.max / 4
    }

    /// A delivery's turn. Nothing if it did not come in time.
    async fn turn(&self, request: &Request<Incoming>) -> Option<OwnedSemaphorePermit> {
        let length = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let bytes = length.unwrap_or(UNKNOWN_BYTES).clamp(1, MOST_BYTES);
        timeout(DELIVERY_WAIT, Arc::clone(&self.deliveries).acquire_many_owned(bytes)).await.ok()?.ok()
    }
}

fn is_delivery(request: &Request<Incoming>) -> bool {
    request.method() == Method::POST && request.uri().path().starts_with("/api/sensors")
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

/// How long somebody who is sent away shall stay away.
fn retry_after() -> Duration {
    // Without randomness all come back at once, as they would have anyway.
    let drawn = getrandom::u32().unwrap_or_default();
    Duration::from_secs(u64::from(1 + drawn % RETRY_AFTER_SECS))
}

/// Lets the accept loop go on when its time has come.
struct Pace {
    left: f64,
    at: Instant,
}

impl Pace {
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
    room: Room,
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    let permit = Arc::new((permit, hub.inner.metrics.connections.enter()));
    // Best effort: a connection without these is slower, not wrong.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES);
    let http = &hub.config().http;
    let patience = line::Patience { head: http.header_timeout(), idle: http.idle_timeout() };
    let (stream, read) = match line::take(&hub, stream, peer.ip(), patience, || room.is_scarce()).await {
        line::End::Handed(stream, read) => (stream, read.freeze()),
        line::End::Closed => return,
    };
    let activity = Arc::new(Activity::new());
    let io =
        TokioIo::new(Watched { stream, read, activity: Arc::clone(&activity), permit: Arc::clone(&permit) });
    let service = service_fn(|request: Request<Incoming>| {
        let request = Base::strip(http, request);
        activity.set(Phase::Busy);
        activity.is_long.store(is_long(&request), Relaxed);
        let ended = Ended(Arc::clone(&activity));
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let (hub, router, room) = (hub.clone(), router.clone(), room.clone());
        async move {
            if reads && ended.0.is_unheard.load(Relaxed) {
                // Nobody can receive the answer, and the request changes nothing.
                let mut nothing = Response::new(Body::empty());
                *nothing.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                return Ok(nothing.map(|body| Answer { body: Content::Body(body), reads, ended }));
            }
            let turn = match is_delivery(&request) {
                true => room.turn(&request).await.map(Some),
                false => Some(None),
            };
            let mut response = match &turn {
                Some(_) => {
                    let mut request = request.map(Body::new);
                    request.extensions_mut().insert(Peer(peer.ip()));
                    answer(&hub, router, request).await
                }
                None => {
                    let busy = busy("readings come faster than they can be stored; try again later");
                    hub.inner.metrics.answered(busy.status().as_u16());
                    busy.map(Body::from)
                }
            };
            if turn.is_none() || room.is_scarce() {
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
        .serve_connection(io, service)
        .with_upgrades();
    tokio::pin!(serving);
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

/// The answer to somebody who is sent away, with the time to come back, each another.
fn busy(detail: impl Into<String>) -> Response<String> {
    problem::whole(&crate::HubError::unavailable(detail).retry_after(retry_after()))
}

/// Says that there is no room, and closes.
async fn refuse(mut stream: TcpStream, _permit: OwnedSemaphorePermit, max: usize) {
    let answer = busy(format!("{max} connections are open already; try again later"));
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

/// What a connection is doing, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Reading a request's head; a new connection owes one.
    Head,
    /// Answering, or sending the answer's body.
    Busy,
    /// Between two requests.
    Idle,
}

#[derive(Debug)]
struct Activity {
    phase: Mutex<(Phase, Instant)>,
    /// The present request ends when its client closes or half-closes: see [`is_long`].
    is_long: AtomicBool,
    /// The client closed the connection, so answers cannot be sent. Requests it had sent before are still carried out.
    is_unheard: AtomicBool,
}

impl Activity {
    fn new() -> Self {
        Self {
            phase: Mutex::new((Phase::Head, Instant::now())),
            is_long: AtomicBool::new(false),
            is_unheard: AtomicBool::new(false),
        }
    }

    fn set(&self, phase: Phase) {
        *lock(&self.phase) = (phase, Instant::now());
    }

    /// Bytes came in: if nothing was going on, a head has begun.
    fn received(&self) {
        let mut now = lock(&self.phase);
        if now.0 == Phase::Idle {
            *now = (Phase::Head, Instant::now());
        }
    }

    fn deadline(&self, head: Duration, idle: Duration) -> Instant {
        let (phase, since) = *lock(&self.phase);
        match phase {
            Phase::Head => since + head,
            Phase::Idle => since + idle,
            // Looked at again then.
            Phase::Busy => Instant::now() + head.min(idle),
        }
    }
}

/// Ends a request's busy time when its answer is sent or given up.
struct Ended(Arc<Activity>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.is_long.store(false, Relaxed);
        self.0.set(Phase::Idle);
    }
}

/// An answer's body that knows when it is over.
struct Answer {
    body: Content,
    /// To a request that changes nothing: an answer of unknown length stops when nobody receives it.
    reads: bool,
    ended: Ended,
}

enum Content {
    Body(Body),
    /// Frames without end.
    Parts(mjpeg::Parts),
}

impl http_body::Body for Answer {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Piece>, axum::Error>>> {
        if self.reads && self.ended.0.is_unheard.load(Relaxed) && self.size_hint().exact().is_none() {
            return Poll::Ready(None);
        }
        match &mut self.body {
            Content::Body(body) => {
                Pin::new(body).poll_frame(context).map_ok(|frame| frame.map_data(Piece::from))
            }
            Content::Parts(parts) => parts
                .as_mut()
                .poll_next(context)
                .map(|part| part.map(|part| Ok(http_body::Frame::data(part)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.body, Content::Body(body) if body.is_end_stream())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.body {
            Content::Body(body) => body.size_hint(),
            Content::Parts(_) => http_body::SizeHint::default(),
        }
    }
}

/// The socket, telling when bytes come in. It holds the connection's place, so that an upgraded one keeps it.
struct Watched {
    stream: TcpStream,
    /// What was read of it before; comes first.
    read: Bytes,
    activity: Arc<Activity>,
    #[allow(dead_code)] // Held, never read.
    permit: Arc<(OwnedSemaphorePermit, crate::metrics::Entered)>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            let piece = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read.split_to(piece));
            self.activity.received();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.received();
        }
        read
    }
}

impl Watched {
    /// Fails once the client has closed its side, while a request is answered that ends with that.
    fn check_reader(&self, context: &mut Context<'_>) -> io::Result<()> {
        if self.activity.is_long.load(Relaxed)
            && let Poll::Ready(peeked) = self.stream.poll_peek(context, &mut ReadBuf::new(&mut [0]))
            && peeked? == 0
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// A write that failed counts as done: the client is gone, but requests it sent before are still to be read and carried out.
    fn heard(&self, written: io::Result<usize>, bytes: usize) -> io::Result<usize> {
        match written {
            Err(error) if self.activity.is_long.load(Relaxed) => Err(error),
            Err(_) => {
                self.activity.is_unheard.store(true, Relaxed);
                Ok(bytes)
            }
            written => written,
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_reader(context)?;
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, buffer));
        Poll::Ready(self.heard(written, buffer.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_reader(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_reader(context)?;
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, buffers));
        Poll::Ready(self.heard(written, buffers.iter().map(|buffer| buffer.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
