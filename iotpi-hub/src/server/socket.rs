//! The socket of a connection. It reports to the limits what is read and written.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::limits::ConnectionState;
use crate::{admission::ConnectionPermit, metrics::GaugeGuard};

/// A socket that updates the state of its connection. It holds the connection's permit, so that an upgraded connection keeps
/// it.
pub(super) struct TrackedStream {
    stream: TcpStream,
    /// Bytes that were read from the socket before, and are returned first.
    read: Bytes,
    state: Arc<ConnectionState>,
    permit: Arc<ConnectionPermit>,
    _counted: GaugeGuard,
}

impl AsyncRead for TrackedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            let piece = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read.split_to(piece));
            self.state.received();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.state.received();
        }
        read
    }
}

impl TrackedStream {
    pub(super) fn new(
        stream: TcpStream,
        read: Bytes,
        state: Arc<ConnectionState>,
        permit: Arc<ConnectionPermit>,
        counted: GaugeGuard,
    ) -> Self {
        Self { stream, read, state, permit, _counted: counted }
    }

    /// Fails once the client has closed its side during a request that this cancels.
    fn check_reader(&self, context: &mut Context<'_>) -> io::Result<()> {
        if self.permit.cancels_on_close()
            && let Poll::Ready(peeked) = self.stream.poll_peek(context, &mut ReadBuf::new(&mut [0]))
            && peeked? == 0
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Records whether the client accepted bytes.
    fn record_write(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(bytes)) => self.state.wrote(Some(*bytes)),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.state.wrote(None),
        }
    }

    /// Reports a failed write as done: the client is gone, but the requests that it sent before still have to be read and
    /// carried out.
    fn ignore_error(&self, written: io::Result<usize>, bytes: usize) -> io::Result<usize> {
        match written {
            Err(error) if self.permit.cancels_on_close() => Err(error),
            Err(_) => {
                self.state.set_write_broken();
                Ok(bytes)
            }
            written => written,
        }
    }
}

impl AsyncWrite for TrackedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_reader(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.record_write(&written);
        Poll::Ready(self.ignore_error(ready!(written), buffer.len()))
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
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.record_write(&written);
        Poll::Ready(self.ignore_error(ready!(written), buffers.iter().map(|buffer| buffer.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
