//! The WebSocket of one live client: read by tungstenite, written here, so that a picture is never copied.
//!
//! tungstenite copies each payload into a buffer of its connection, and after each partial write moves what is left of it to
//! the front. A server's frames are simple, not masked and whole: a head of up to ten bytes and the payload, which go to the
//! kernel side by side in one `writev`. Deliberately absent: a queue. One message, or one part of a long message, is under way,
//! and the next waits until it is out. tungstenite answers pings: one pong is pending, and a newer ping replaces it (RFC 6455,
//! section 5.5.3).

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Sink as _, Stream as _};
use iotpi_core::MAX_LIVE_MESSAGE_BYTES;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

/// Of what is read. A client's messages are small, and the default of 128 KiB for each client is not.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// The most bytes of control frames, pongs and the goodbye, that wait to be written. With more, a client that sends pings and
/// reads nothing would fill the memory.
const MAX_UNSENT_CONTROL_BYTES: usize = 512;

/// What a message is (RFC 6455, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The next part of a message that was begun.
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Ping = 9,
}

/// What happened on a socket.
#[derive(Debug)]
pub(super) enum Step {
    /// The client said something.
    Heard(Message),
    /// What was to be sent is out.
    Sent,
    /// The line broke.
    Broken,
}

/// The socket of one client.
#[derive(Debug)]
pub(super) struct Socket<S> {
    frames: WebSocketStream<WriteStream<S>>,
    /// Goes out as soon as tungstenite's own answers, pongs, are.
    next: Option<Outgoing>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// The server's side of a WebSocket whose handshake is done.
    pub(super) async fn new(stream: S) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_UNSENT_CONTROL_BYTES)
            // Somewhat over the protocol's limit, so that what is a little too long gets an answer and not a hang-up.
            .max_message_size(Some(2 * MAX_LIVE_MESSAGE_BYTES))
            .max_frame_size(Some(2 * MAX_LIVE_MESSAGE_BYTES));
        let line = WriteStream { stream, outgoing: None, written: 0 };
        Self { frames: WebSocketStream::from_raw_socket(line, Role::Server, Some(config)).await, next: None }
    }

    /// Whether nothing is under way, and a message may be [put](Self::put).
    pub(super) fn is_idle(&self) -> bool {
        self.next.is_none() && self.frames.get_ref().outgoing.is_none()
    }

    /// How many bytes the client's side has taken of what was put.
    pub(super) fn written(&self) -> u64 {
        self.frames.get_ref().written
    }

    /// Begins to send a message, its payload in two parts. Goes on whenever the socket is waited for.
    pub(super) fn put(&mut self, kind: Kind, first: &[u8], payload: Bytes) {
        debug_assert!(self.is_idle(), "one message at a time");
        self.next = Some(Outgoing { head: head(kind, true, first, payload.len()), payload, written: 0 });
    }

    /// Puts a part of a message: the first has the message's kind, the others are continuations. Until the last one is out,
    /// nothing else may be put.
    pub(super) fn put_part(&mut self, kind: Kind, is_last: bool, payload: Bytes) {
        debug_assert!(self.is_idle(), "one part at a time");
        self.next = Some(Outgoing { head: head(kind, is_last, &[], payload.len()), payload, written: 0 });
    }

    /// What happens next. Without `hears`, the client is not read: what it sends waits in the kernel, and soon with it.
    ///
    /// # Cancel safety
    /// Cancel safe: what is half sent or half heard goes on at the next call.
    pub(super) async fn step(&mut self, hears: bool) -> Step {
        poll_fn(|context| {
            if !self.is_idle()
                && let Poll::Ready(sent) = self.poll_send(context)
            {
                return Poll::Ready(if sent.is_ok() { Step::Sent } else { Step::Broken });
            }
            if !hears {
                return Poll::Pending;
            }
            Poll::Ready(match ready!(Pin::new(&mut self.frames).poll_next(context)) {
                Some(Ok(message)) => Step::Heard(message),
                Some(Err(_)) | None => Step::Broken,
            })
        })
        .await
    }

    /// Sends on, until all is out or the client's side took some more.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn progress(&mut self) -> Result<(), Error> {
        let before = self.written();
        poll_fn(|context| match self.poll_send(context) {
            Poll::Pending if self.written() > before => Poll::Ready(Ok(())),
            sent => sent,
        })
        .await
    }

    /// Says goodbye once what is under way is out.
    pub(super) async fn close(&mut self, why: Option<CloseFrame>) -> Result<(), Error> {
        poll_fn(|context| self.poll_send(context)).await?;
        self.frames.close(why).await
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.next.is_some() {
            ready!(Pin::new(&mut self.frames).poll_flush(context))?;
            self.frames.get_mut().outgoing = self.next.take();
        }
        self.frames.get_mut().poll_outgoing(context).map_err(Error::Io)
    }
}

/// A message on its way.
#[derive(Debug)]
struct Outgoing {
    head: Vec<u8>,
    payload: Bytes,
    written: usize,
}

impl Outgoing {
    fn rest(&self) -> [IoSlice<'_>; 2] {
        let head = self.head.get(self.written..).unwrap_or_default();
        let payload = self.written.saturating_sub(self.head.len());
        [IoSlice::new(head), IoSlice::new(&self.payload[payload..])]
    }

    fn is_out(&self) -> bool {
        self.written == self.head.len() + self.payload.len()
    }
}

/// The head of a frame, and the first part of its payload.
fn head(kind: Kind, is_last: bool, first: &[u8], rest_bytes: usize) -> Vec<u8> {
    let bytes = first.len() + rest_bytes;
    let mut head = Vec::with_capacity(10 + first.len());
    // Bit 7: the last frame of its message.
    head.push(u8::from(is_last) << 7 | kind as u8);
    match (u8::try_from(bytes), u16::try_from(bytes)) {
        (Ok(bytes @ ..126), _) => head.push(bytes),
        (_, Ok(bytes)) => {
            head.push(126);
            head.extend(bytes.to_be_bytes());
        }
        _ => {
            head.push(127);
            head.extend((bytes as u64).to_be_bytes());
        }
    }
    head.extend(first);
    head
}

/// The stream below tungstenite. What tungstenite writes, pongs and the goodbye, waits for the message under way.
#[derive(Debug)]
struct WriteStream<S> {
    stream: S,
    outgoing: Option<Outgoing>,
    written: u64,
}

impl<S: AsyncWrite + Unpin> WriteStream<S> {
    fn poll_outgoing(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outgoing) = &mut self.outgoing {
            let bytes = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &outgoing.rest()))?;
            if bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += bytes as u64;
            outgoing.written += bytes;
            if outgoing.is_out() {
                self.outgoing = None;
            }
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_outgoing(context))?;
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_outgoing(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
