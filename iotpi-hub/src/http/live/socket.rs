//! The WebSocket of one live client: read by tungstenite, written here, so that a frame is never copied.
//!
//! tungstenite copies each payload into a buffer of its connection, and after each partial write moves the rest to the front. The
//! frames of a server are simple, neither masked nor fragmented: a header of up to ten bytes and the payload, which are passed to
//! the kernel in one `writev`. Deliberately absent: a queue. One message, or one part of a long message, is in flight, and the
//! next one waits until it has been written. tungstenite answers pings: one pong is pending, and a newer ping replaces it
//! (RFC 6455, section 5.5.3).

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Sink as _, Stream as _};
use iotpi_core::model::event::MAX_LIVE_MESSAGE_BYTES;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

/// Size of the read buffer. The messages of a client are small; the default is 128 KiB for each client.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Maximum size of control frames (pong, close) that wait to be written. Without it, a client that sends pings and reads nothing
/// would fill the memory.
const MAX_UNSENT_CONTROL_BYTES: usize = 512;

/// The opcode of a frame (RFC 6455, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    /// The next part of a message in parts.
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Ping = 9,
}

/// An event of a socket.
#[derive(Debug)]
pub(super) enum Step {
    /// A message of the client arrived.
    Received(Message),
    /// The outgoing message has been written.
    Sent,
    /// The connection broke.
    Broken,
}

/// The socket of one client.
#[derive(Debug)]
pub(super) struct Socket<S> {
    frames: WebSocketStream<WriteStream<S>>,
    /// The next message, written after the pending pongs of tungstenite.
    next: Option<Outgoing>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// The server's side of a WebSocket whose handshake is done.
    pub(super) async fn new(stream: S) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_UNSENT_CONTROL_BYTES)
            // Above the protocol's limit, so that a message slightly over it gets an answer instead of a closed connection.
            .max_message_size(Some(2 * MAX_LIVE_MESSAGE_BYTES))
            .max_frame_size(Some(2 * MAX_LIVE_MESSAGE_BYTES));
        let stream = WriteStream { stream, outgoing: None, written: 0 };
        Self {
            frames: WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await,
            next: None,
        }
    }

    /// Whether no message is in flight, so that one may be [sent](Self::start_send).
    pub(super) fn is_idle(&self) -> bool {
        self.next.is_none() && self.frames.get_ref().outgoing.is_none()
    }

    /// Bytes of outgoing messages that the kernel has accepted.
    pub(super) fn written(&self) -> u64 {
        self.frames.get_ref().written
    }

    /// Starts to send a message whose payload is `first` and then `payload`. It makes progress in [`Self::step`] and
    /// [`Self::progress`].
    pub(super) fn start_send(&mut self, opcode: Opcode, first: &[u8], payload: Bytes) {
        debug_assert!(self.is_idle(), "one message at a time");
        self.next =
            Some(Outgoing { header: frame_header(opcode, true, first, payload.len()), payload, written: 0 });
    }

    /// Starts to send a part of a message: the first has the message's opcode, the others are continuations. No other message may
    /// be sent before the last part.
    pub(super) fn start_send_part(&mut self, opcode: Opcode, is_last: bool, payload: Bytes) {
        debug_assert!(self.is_idle(), "one part at a time");
        self.next =
            Some(Outgoing { header: frame_header(opcode, is_last, &[], payload.len()), payload, written: 0 });
    }

    /// Waits for the next event. Without `reads` the client is not read, so its messages wait in the kernel and then at the client.
    ///
    /// # Cancel safety
    /// Cancel safe: a message that is partly sent or received continues with the next call.
    pub(super) async fn step(&mut self, reads: bool) -> Step {
        poll_fn(|context| {
            if !self.is_idle()
                && let Poll::Ready(sent) = self.poll_send(context)
            {
                return Poll::Ready(if sent.is_ok() { Step::Sent } else { Step::Broken });
            }
            if !reads {
                return Poll::Pending;
            }
            Poll::Ready(match ready!(Pin::new(&mut self.frames).poll_next(context)) {
                Some(Ok(message)) => Step::Received(message),
                Some(Err(_)) | None => Step::Broken,
            })
        })
        .await
    }

    /// Continues to send until the message has been written, or at least some more of it.
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

    /// Sends a close frame after the message in flight.
    pub(super) async fn close(&mut self, reason: Option<CloseFrame>) -> Result<(), Error> {
        poll_fn(|context| self.poll_send(context)).await?;
        self.frames.close(reason).await
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.next.is_some() {
            ready!(Pin::new(&mut self.frames).poll_flush(context))?;
            self.frames.get_mut().outgoing = self.next.take();
        }
        self.frames.get_mut().poll_outgoing(context).map_err(Error::Io)
    }
}

/// A message in flight.
#[derive(Debug)]
struct Outgoing {
    header: Vec<u8>,
    payload: Bytes,
    written: usize,
}

impl Outgoing {
    fn remaining(&self) -> [IoSlice<'_>; 2] {
        let header = self.header.get(self.written..).unwrap_or_default();
        let payload = self.written.saturating_sub(self.header.len());
        [IoSlice::new(header), IoSlice::new(&self.payload[payload..])]
    }

    fn is_written(&self) -> bool {
        self.written == self.header.len() + self.payload.len()
    }
}

/// The header of a frame, and the first part of its payload.
fn frame_header(opcode: Opcode, is_last: bool, first: &[u8], rest_bytes: usize) -> Vec<u8> {
    let bytes = first.len() + rest_bytes;
    let mut header = Vec::with_capacity(10 + first.len());
    // Bit 7: the last frame of its message.
    header.push(u8::from(is_last) << 7 | opcode as u8);
    match (u8::try_from(bytes), u16::try_from(bytes)) {
        (Ok(bytes @ ..126), _) => header.push(bytes),
        (_, Ok(bytes)) => {
            header.push(126);
            header.extend(bytes.to_be_bytes());
        }
        _ => {
            header.push(127);
            header.extend((bytes as u64).to_be_bytes());
        }
    }
    header.extend(first);
    header
}

/// The stream below tungstenite. The control frames that tungstenite writes wait for the message in flight.
#[derive(Debug)]
struct WriteStream<S> {
    stream: S,
    outgoing: Option<Outgoing>,
    written: u64,
}

impl<S: AsyncWrite + Unpin> WriteStream<S> {
    fn poll_outgoing(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outgoing) = &mut self.outgoing {
            let bytes =
                ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &outgoing.remaining()))?;
            if bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += bytes as u64;
            outgoing.written += bytes;
            if outgoing.is_written() {
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
