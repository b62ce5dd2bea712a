//! A fast path for `POST /api/camera/frame`: reads a frame from the socket straight into the buffer that the frame stays in.
//!
//! # Contract
//! - It serves a connection before hyper does, for as long as each request is a plain one: HTTP/1.1, a head of up to 4 KiB, a JPEG
//!   body with a `Content-Length`, and a caller that may deliver it.
//! - It hands over everything else, and every request that has to be refused before its body, unread and for good: hyper gets
//!   the socket and the bytes that were read. So the route in `http/camera/publish.rs` answers every request as well, and
//!   refusals, forms and the finer points of HTTP exist only there. Removing this module changes nothing but speed.
//! - It uses the same checks, limits and responses as that route, which it imports from `http`.
//! - It is worth its code. On 4 connections the hub takes 0.97, 1.01 and 1.27 times the frames of a bare hyper server at 30, 100
//!   and 500 KB; without it 0.77, 0.70 and 0.86 times (`hub-load ingest`, two cores, medians of 8 rounds). hyper's buffer costs a
//!   second copy of each frame and a wake-up for every 64 KiB.

mod request;
mod response;

use std::{io, sync::Arc, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use self::{request::FrameRequest, response::FrameResponse};
use crate::{
    Hub,
    admission::{ConnectionPermit, MinimumRate},
    frames::Buffer,
    http::{camera::publish_jpeg, extract::too_slow, middleware::request_id},
};

/// The start of every request that is served here.
const REQUEST_LINE_START: &[u8] = b"POST /api/camera/frame";
/// Time for a client to read a response, a few hundred bytes.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// Longer heads are handed over.
const MAX_HEAD_BYTES: usize = 4096;

/// How the fast path ended.
pub(super) enum Outcome {
    /// The connection is closed.
    Closed,
    /// hyper serves the rest of the connection. These bytes were read from it already.
    HandedOver(TcpStream, Bytes),
}

/// Serves frames until another request arrives, the client closes or is too slow, or the hub stops. `is_closing` decides after
/// each request whether the connection is closed.
pub(super) async fn serve(
    hub: &Hub,
    stream: TcpStream,
    permit: &Arc<ConnectionPermit>,
    is_closing: impl Fn() -> bool,
) -> Outcome {
    let (head_timeout, idle_timeout) = (hub.config().http.header_timeout(), hub.config().http.idle_timeout());
    let mut connection = FrameConnection { stream, read: BytesMut::with_capacity(MAX_HEAD_BYTES) };
    // A new connection owes a head.
    let mut wait = head_timeout;
    loop {
        let head = tokio::select! {
            () = hub.stopping().cancelled() => return Outcome::Closed,
            head = connection.read_head(wait, head_timeout) => head,
        };
        let request = match head {
            Ok(Some(length)) => {
                let request = FrameRequest::parse(hub, &connection.read[..length], permit).await;
                request.inspect(|_| connection.read.advance(length))
            }
            Ok(None) => None,
            Err(_) => return Outcome::Closed,
        };
        let Some(request) = request else {
            return Outcome::HandedOver(connection.stream, connection.read.freeze());
        };
        let close = is_closing() || request.close;
        let served = tokio::select! {
            () = hub.drained() => return Outcome::Closed,
            served = connection.serve(hub, permit, request, close) => served,
        };
        if served.is_err() {
            let _ = connection.stream.shutdown().await;
            return Outcome::Closed;
        }
        wait = idle_timeout;
    }
}

struct FrameConnection {
    stream: TcpStream,
    /// Bytes that were read and not used yet.
    read: BytesMut,
}

impl FrameConnection {
    /// Reads the next head and returns its length, or `None` when the request is not for the fast path. The first bytes have to
    /// arrive within `wait`, the rest within `head_timeout`.
    async fn read_head(&mut self, wait: Duration, head_timeout: Duration) -> io::Result<Option<usize>> {
        if self.read.is_empty() {
            self.read_more(wait).await?;
        }
        let started = Instant::now();
        loop {
            let compared = self.read.len().min(REQUEST_LINE_START.len());
            if self.read[..compared] != REQUEST_LINE_START[..compared] {
                return Ok(None);
            }
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                return Ok(Some(end + 4));
            }
            if self.read.len() > MAX_HEAD_BYTES {
                return Ok(None);
            }
            self.read_more(head_timeout.saturating_sub(started.elapsed())).await?;
        }
    }

    async fn read_more(&mut self, wait: Duration) -> io::Result<()> {
        self.read.reserve(MAX_HEAD_BYTES);
        match timeout(wait, self.stream.read_buf(&mut self.read)).await {
            Ok(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read.map(|_| ()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Reads the body of a request, publishes the frame and responds.
    ///
    /// # Errors
    /// The connection has to be closed.
    async fn serve(
        &mut self,
        hub: &Hub,
        permit: &ConnectionPermit,
        request: FrameRequest,
        close: bool,
    ) -> io::Result<()> {
        if self.read.is_empty() {
            // A body takes nothing from the budget before its first bytes have arrived.
            self.read_more(MinimumRate::new().deadline() - Instant::now()).await?;
        }
        let length = request.length;
        let memory = hub.inner.admission.frames.acquire(&permit.holder(), length).await;
        let (response, close) = match &memory {
            Ok(_) => match self.read_body(hub.inner.frames.buffers.take(length), length).await {
                Ok(body) => {
                    let id = request_id(hub);
                    let FrameRequest { caller, module_id, metadata, .. } = request;
                    let receipt = publish_jpeg(hub, &caller, &module_id, metadata, body.freeze()).await;
                    (FrameResponse::new(hub, id, receipt), close)
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    (FrameResponse::error(hub, request_id(hub), &too_slow()), true)
                }
                Err(error) => return Err(error),
            },
            // The body stays unread, so no request can be read after it.
            Err(error) => (FrameResponse::error(hub, request_id(hub), error), true),
        };
        permit.finish_request();
        drop(memory);
        // A closed connection is not an error here: frames that the client sent before may still be in the socket.
        let _ = timeout(RESPONSE_TIMEOUT, self.stream.write_all(response.encode(close).as_bytes())).await?;
        if close { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// Reads a body of this length into the buffer: first the bytes that arrived with the head, then the rest from the socket.
    async fn read_body(&mut self, mut body: Buffer, length: usize) -> io::Result<Buffer> {
        let read = self.read.split_to(length.min(self.read.len()));
        body.extend(&read);
        let mut rate = MinimumRate::new();
        while body.len() < length {
            let missing = u64::try_from(length - body.len()).unwrap_or(u64::MAX);
            let mut rest = (&mut self.stream).take(missing);
            match timeout_at(rate.deadline(), rest.read_buf(body.vec())).await?? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => rate.received(bytes),
            }
        }
        Ok(body)
    }
}
