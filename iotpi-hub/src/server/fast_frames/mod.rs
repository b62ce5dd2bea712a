//! A connection on which a camera posts frame after frame: read without a detour, from the socket into the buffer the frame
//! stays in.
//!
//! Only what is plainly a frame is taken here: a JPEG with a length, from somebody who may. Everything else, whatever it is
//! and whatever is wrong with it, goes to the server with the bytes that were read, and stays there. So there is nothing here
//! about forms, refusals or HTTP's finer points; [`show`](super::show) answers the same requests, only with a copy more.

use std::{
    io,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::extract::FromRequestParts as _;
use bytes::{Buf as _, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header, request::Parts};
use iotpi_core::{MAX_FRAME_BYTES, ModuleId, Timestamp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        extract::{IngestAuth, too_slow},
        middleware,
        problem::{self, status},
    },
    FrameMetadata, Query, camera_of, parse_time,
    publish::{ShowParams, is_jpeg},
};
use crate::{
    Hub,
    admission::{ConnectionPermit, MinimumRate},
    auth::Caller,
    error::HubError,
    frames::Buffer,
    server::DRAIN,
};

/// What such a request begins with.
const BEGINNING: &[u8] = b"POST /api/camera/frame";
/// How long a client may take to read an answer, a few hundred bytes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// A head that is longer is the server's.
const MAX_HEAD_BYTES: usize = 4096;
const MAX_HEADERS: usize = 32;

/// How the line ended.
pub(crate) enum End {
    /// The connection is over.
    Closed,
    /// What comes next is the server's, beginning with the bytes that were read.
    Handed(TcpStream, BytesMut),
}

/// How long is waited for the next request, and for the rest of its head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) head: Duration,
    pub(crate) idle: Duration,
}

/// Takes frames until something else comes, nothing does, or the hub stops. `close` says whether to close after an answer.
pub(crate) async fn take(
    hub: &Hub,
    stream: TcpStream,
    connection: &Arc<ConnectionPermit>,
    patience: Patience,
    close: impl Fn() -> bool,
) -> End {
    let mut line = Line { stream, read: BytesMut::with_capacity(MAX_HEAD_BYTES) };
    // A new connection owes a head.
    let mut wait = patience.head;
    loop {
        let length = tokio::select! {
            () = hub.stopping().cancelled() => return End::Closed,
            head = line.head(wait, patience.head) => match head {
                Ok(Some(length)) => length,
                Ok(None) => return End::Handed(line.stream, line.read),
                Err(_) => return End::Closed,
            },
        };
        let Some(coming) = understand(hub, &line.read[..length], connection).await else {
            return End::Handed(line.stream, line.read);
        };
        line.read.advance(length);
        let close = close() || coming.close;
        let kept = tokio::select! {
            () = long_after(hub.stopping()) => return End::Closed,
            kept = line.serve(hub, connection, coming, close) => kept,
        };
        if kept.is_err() {
            let _ = line.stream.shutdown().await;
            return End::Closed;
        }
        wait = patience.idle;
    }
}

/// A camera that is amid a frame when the hub stops has this long to finish.
async fn long_after(stopping: &CancellationToken) {
    stopping.cancelled().await;
    tokio::time::sleep(DRAIN).await;
}

struct Line {
    stream: TcpStream,
    read: BytesMut,
}

impl Line {
    /// The length of the next head, once it is here whole; nothing when it is not one of a frame.
    async fn head(&mut self, wait: Duration, whole: Duration) -> io::Result<Option<usize>> {
        if self.read.is_empty() {
            self.more(wait).await?;
        }
        let begun = tokio::time::Instant::now();
        loop {
            let compared = self.read.len().min(BEGINNING.len());
            if self.read[..compared] != BEGINNING[..compared] {
                return Ok(None);
            }
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                return Ok(Some(end + 4));
            }
            if self.read.len() > MAX_HEAD_BYTES {
                return Ok(None);
            }
            self.more(whole.saturating_sub(begun.elapsed())).await?;
        }
    }

    async fn more(&mut self, wait: Duration) -> io::Result<()> {
        self.read.reserve(MAX_HEAD_BYTES);
        match timeout(wait, self.stream.read_buf(&mut self.read)).await {
            Ok(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read.map(|_| ()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Reads a frame, shows it, and answers.
    async fn serve(
        &mut self,
        hub: &Hub,
        connection: &ConnectionPermit,
        coming: Coming,
        close: bool,
    ) -> io::Result<()> {
        if self.read.is_empty() {
            // A body holds nothing of the budget before its first bytes are there.
            self.more(MinimumRate::new().deadline() - Instant::now()).await?;
        }
        let memory = hub.inner.admission.frames.acquire(&connection.holder(), coming.length).await;
        let (answer, close) = match &memory {
            Ok(_) => match self.body(hub.inner.frames.buffers.take(coming.length), coming.length).await {
                Ok(jpeg) => (show(hub, coming, jpeg).await, close),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    (Answer::refusal(hub, middleware::request_id(hub), &too_slow()), true)
                }
                Err(error) => return Err(error),
            },
            // The frame stays unread, so nothing else can be read behind it.
            Err(error) => (Answer::refusal(hub, middleware::request_id(hub), error), true),
        };
        connection.finish_request();
        drop(memory);
        // One that has closed the connection is not an error: frames that it sent before may still be in the socket.
        let _ = timeout(ANSWER_TIMEOUT, self.stream.write_all(answer.head(close).as_bytes())).await?;
        if close { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// A body of that length: what was read with the head, and the rest from the socket to where it stays.
    async fn body(&mut self, mut body: Buffer, length: usize) -> io::Result<Buffer> {
        let here = self.read.split_to(length.min(self.read.len()));
        body.extend(&here);
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

/// A frame that is coming, from somebody who may deliver it.
struct Coming {
    caller: Caller,
    module_id: ModuleId,
    caption: FrameMetadata,
    length: usize,
    close: bool,
}

/// Reads a head; nothing when it is for the server.
async fn understand(hub: &Hub, head: &[u8], connection: &Arc<ConnectionPermit>) -> Option<Coming> {
    let mut parts = parse(head)?;
    let length = plain_length(&parts.headers)?;
    middleware::check(hub, &parts.method, &parts.uri, &parts.headers).ok()?;
    parts.extensions.insert(Arc::clone(connection));
    let IngestAuth(caller) = IngestAuth::from_request_parts(&mut parts, hub).await.ok()?;
    let Query(query) = Query::<ShowParams>::from_request_parts(&mut parts, hub).await.ok()?;
    let headers = FrameMetadata::of_headers(&parts.headers, hub.now().wall).ok()?;
    let caption = headers.at(parse_time("timestamp", query.timestamp.as_deref()).ok()?);
    let module_id = camera_of(query.module_id, &caller).ok()?;
    caller.may_deliver_as(&module_id).ok()?;
    let close = parts.headers.contains_key(header::CONNECTION);
    Some(Coming { caller, module_id, caption, length, close })
}

/// The head as HTTP/1.1 has it.
fn parse(head: &[u8]) -> Option<Parts> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut fields);
    if !request.parse(head).ok()?.is_complete()
        || request.version != Some(1)
        || request.method != Some("POST")
    {
        return None;
    }
    let uri: Uri = request.path?.parse().ok()?;
    if uri.path().as_bytes() != &BEGINNING[b"POST ".len()..] {
        return None;
    }
    let mut parts = Request::new(()).into_parts().0;
    parts.method = Method::POST;
    parts.uri = uri;
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        parts.headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(parts)
}

/// The length of a JPEG body that says it and nothing that would have to be understood.
fn plain_length(headers: &HeaderMap) -> Option<usize> {
    let strange =
        [header::TRANSFER_ENCODING, header::CONTENT_ENCODING, header::EXPECT, header::UPGRADE, header::TE];
    let repeated = |name| headers.get_all(name).iter().count() > 1;
    if strange.iter().any(|name| headers.contains_key(name))
        || repeated(header::CONTENT_LENGTH)
        || repeated(header::HOST)
        || repeated(header::AUTHORIZATION)
        || !is_jpeg(headers)
    {
        return None;
    }
    if let Some(connection) = headers.get(header::CONNECTION)
        && !connection.as_bytes().eq_ignore_ascii_case(b"close")
    {
        return None;
    }
    let length = headers.get(header::CONTENT_LENGTH)?.as_bytes();
    // No sign, no list: digits.
    if !length.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(length).ok()?.parse().ok().filter(|length| (1..=MAX_FRAME_BYTES).contains(length))
}

async fn show(hub: &Hub, coming: Coming, jpeg: Buffer) -> Answer {
    let id = middleware::request_id(hub);
    let ignores_time = coming.caption.ignores_time;
    let frame = coming.caption.on(jpeg.freeze(), hub.now().wall);
    let shown = match frame {
        Ok(frame) => hub.publish_frame(&coming.caller, &coming.module_id, frame).await.inspect(|_| {
            if ignores_time {
                hub.ignored_frame_time(&coming.module_id);
            }
        }),
        Err(error) => {
            hub.refused_frame(&coming.caller, &coming.module_id);
            Err(error)
        }
    };
    let receipt = shown.and_then(|receipt| {
        serde_json::to_string(&receipt).map_err(|error| HubError::internal("no receipt").caused_by(error))
    });
    match receipt {
        Ok(body) => {
            hub.inner.metrics.answered(StatusCode::OK.as_u16());
            let at = hub.now().wall;
            Answer { status: StatusCode::OK, content_type: "application/json", body, id, at }
        }
        Err(error) => Answer::refusal(hub, id, &error),
    }
}

struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: String,
    id: String,
    at: Timestamp,
}

impl Answer {
    fn refusal(hub: &Hub, id: String, error: &HubError) -> Self {
        problem::log(error, &id);
        let document = problem::document(error, Some(&id));
        let body = serde_json::to_string(&document).unwrap_or_default();
        let status = status(error.kind());
        hub.inner.metrics.answered(status.as_u16());
        Self { status, content_type: problem::CONTENT_TYPE, body, id, at: hub.now().wall }
    }

    /// All of it, as it goes over the line.
    fn head(&self, close: bool) -> String {
        static DEFAULT_HEADERS: LazyLock<String> = LazyLock::new(|| {
            middleware::DEFAULT_HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
        });
        let Self { status, content_type, body, id, .. } = self;
        let close = if close { "connection: close\r\n" } else { "" };
        let date = jiff::Timestamp::from_microsecond(self.at.as_micros()).unwrap_or_default();
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT");
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n{}: {id}\r\n{}{close}date: {date}\r\n\r\n{body}",
            body.len(),
            middleware::REQUEST_ID,
            *DEFAULT_HEADERS,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length_of(head: &str) -> Option<usize> {
        plain_length(&parse(head.replace('\n', "\r\n").as_bytes())?.headers)
    }

    #[test]
    fn a_plain_frame_is_taken_and_everything_else_is_the_servers() {
        let plain = "POST /api/camera/frame?module_id=a HTTP/1.1\nhost: a\ncontent-type: image/jpeg\ncontent-length: 77\n\n";
        assert_eq!(length_of(plain), Some(77));
        assert_eq!(length_of(&plain.replace("content-type: image/jpeg\n", "")), Some(77));
        assert_eq!(length_of(&plain.replace("host: a", "connection: close")), Some(77));

        for (one, other) in [
            ("POST", "PUT"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("/api/camera/frame", "/api/camera/frames"),
            ("/api/camera/frame", "/api/camera/frame/"),
            ("image/jpeg", "multipart/form-data; boundary=x"),
            ("image/jpeg", "text/plain"),
            ("77", "0"),
            ("77", "+77"),
            ("77", "77, 77"),
            ("77", "8388609"),
            ("77", "99999999999999999999999"),
            ("content-length: 77", "content-length: 77\ncontent-length: 78"),
            ("content-length: 77", "content-length: 77\ntransfer-encoding: chunked"),
            ("content-length: 77", "transfer-encoding: chunked"),
            ("content-length: 77", "content-length: 77\nexpect: 100-continue"),
            ("content-length: 77", "content-length: 77\ncontent-encoding: gzip"),
            ("content-length: 77", "content-length: 77\nconnection: upgrade"),
            ("host: a", "host : a"),
            ("host: a", "host: a\n b"),
            ("host: a", "host: a\nhost: b"),
        ] {
            assert_eq!(length_of(&plain.replacen(one, other, 1)), None, "{other}");
        }
    }
}
