//! Viewers, all on one thread: it takes what has come, one viewer after the other, and never more of the machine than one
//! core.

use std::{cell::RefCell, future::poll_fn, io, pin::Pin, rc::Rc, task::ready, time::Duration};

use iotpi_benches::Error;
use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::{mpsc, watch},
    task::LocalSet,
};

use crate::{
    frame::{self, Stamp},
    line::Target,
    mjpeg::Mjpeg,
};

/// Read at once: a frame of the usual size, and more.
const BUFFER_BYTES: usize = 256 * 1024;

/// A frame that a viewer has whole.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// What the frame says about itself; nothing if it is none of ours.
    pub stamp: Option<Stamp>,
    /// When its last byte was read.
    pub whole_at: Duration,
}

/// Whom to watch.
#[derive(Debug)]
pub struct Watch {
    /// The server.
    pub target: Target,
    /// Each viewer's request; the first `reading` read.
    pub requests: Vec<Vec<u8>>,
    /// How many of them read what they are sent; the others never do.
    pub reading: usize,
}

impl Watch {
    /// Connects all viewers and reads until told to stop. `ready` is told once for each viewer: who reads has its first
    /// frame, who does not has asked.
    ///
    /// # Errors
    /// The sockets'; a stream that ended or is none.
    pub fn run(
        self,
        ready: mpsc::UnboundedSender<()>,
        stop: watch::Receiver<bool>,
    ) -> Result<Vec<Delivery>, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async move {
            let buffer = Rc::new(RefCell::new(vec![0; BUFFER_BYTES]));
            let mut reading = Vec::new();
            let mut stalled = Vec::new();
            for (n, request) in self.requests.into_iter().enumerate() {
                let mut stream = TcpStream::connect(self.target.address()).await?;
                stream.write_all(&request).await?;
                if n < self.reading {
                    let viewer = Viewer { stream, buffer: Rc::clone(&buffer), ready: Some(ready.clone()) };
                    reading.push(tokio::task::spawn_local(viewer.read(stop.clone())));
                } else {
                    let _ = ready.send(());
                    stalled.push(stream);
                }
            }
            let mut deliveries = Vec::new();
            for viewer in reading {
                deliveries.append(&mut viewer.await??);
            }
            Ok(deliveries)
        })
    }
}

struct Viewer {
    stream: TcpStream,
    /// Shared by all: it stays in the processor's cache.
    buffer: Rc<RefCell<Vec<u8>>>,
    ready: Option<mpsc::UnboundedSender<()>>,
}

impl Viewer {
    async fn read(mut self, mut stop: watch::Receiver<bool>) -> io::Result<Vec<Delivery>> {
        let mut mjpeg = Mjpeg::new();
        let mut deliveries = Vec::new();
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => return Ok(deliveries),
                read = self.read_some(&mut mjpeg, &mut deliveries) => read?,
            }
            if !deliveries.is_empty()
                && let Some(ready) = self.ready.take()
            {
                let _ = ready.send(());
            }
        }
    }

    async fn read_some(&mut self, mjpeg: &mut Mjpeg, deliveries: &mut Vec<Delivery>) -> io::Result<()> {
        poll_fn(|context| {
            let mut shared = self.buffer.borrow_mut();
            let mut buffer = ReadBuf::new(&mut shared);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Err(io::Error::other("a stream ended by itself")).into();
            }
            let whole_at = frame::now();
            mjpeg.feed(buffer.filled(), |stamp| deliveries.push(Delivery { stamp, whole_at })).into()
        })
        .await
    }
}
