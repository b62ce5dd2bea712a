//! The socket of a connection, which notes what is read from it and written to it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::activity::Activity;
use crate::{admission::ConnectionPermit, metrics::GaugeGuard};

/// The socket, telling when bytes come in. It holds the connection's place, so that an upgraded one keeps it.
pub(super) struct TrackedStream {
    pub(super) stream: TcpStream,
    /// What was read of it before; comes first.
    pub(super) read: Bytes,
    pub(super) activity: Arc<Activity>,
    #[allow(dead_code)] // Held, never read.
    pub(super) permit: (Arc<ConnectionPermit>, Arc<GaugeGuard>),
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

impl TrackedStream {
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

    /// Notes whether the other side took anything.
    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(bytes)) => self.activity.wrote(Some(*bytes)),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.activity.wrote(None),
        }
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

impl AsyncWrite for TrackedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_reader(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.note(&written);
        Poll::Ready(self.heard(ready!(written), buffer.len()))
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
        self.note(&written);
        Poll::Ready(self.heard(ready!(written), buffers.iter().map(|buffer| buffer.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
