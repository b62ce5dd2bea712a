//! Viewers on one thread, so that they use at most one core of the machine.

use std::{cell::RefCell, future::poll_fn, io, pin::Pin, rc::Rc, task::ready, time::Duration};

use iotpi_benches::Error;
use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::{mpsc, watch},
    task::LocalSet,
};

use crate::{
    connection::Target,
    frame::{self, Stamp},
    mjpeg::MjpegParser,
};

/// The size of the read buffer, larger than a usual frame.
const BUFFER_BYTES: usize = 256 * 1024;

/// A frame that a viewer has received completely.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// The stamp of the frame; `None` if a camera of this program did not send it.
    pub stamp: Option<Stamp>,
    /// The time its last byte was read.
    pub received_at: Duration,
}

/// The viewers of a measurement.
#[derive(Debug)]
pub struct Viewers {
    /// The address of the server.
    pub target: Target,
    /// The request of each viewer. The first `reading` viewers read the response.
    pub requests: Vec<Vec<u8>>,
    /// The number of viewers that read; the others never do.
    pub reading: usize,
}

impl Viewers {
    /// Connects all viewers and reads until `stop` changes. It notifies `ready` once per viewer: after the
    /// first frame of a viewer that reads, after the request of another.
    ///
    /// # Errors
    /// Those of the sockets; a response that is no stream, or a stream that ended.
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
    /// Shared by all viewers, so that it stays in the cache of the CPU.
    buffer: Rc<RefCell<Vec<u8>>>,
    ready: Option<mpsc::UnboundedSender<()>>,
}

impl Viewer {
    async fn read(mut self, mut stop: watch::Receiver<bool>) -> io::Result<Vec<Delivery>> {
        let mut parser = MjpegParser::new();
        let mut deliveries = Vec::new();
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => return Ok(deliveries),
                read = self.read_some(&mut parser, &mut deliveries) => read?,
            }
            if !deliveries.is_empty()
                && let Some(ready) = self.ready.take()
            {
                let _ = ready.send(());
            }
        }
    }

    async fn read_some(
        &mut self,
        parser: &mut MjpegParser,
        deliveries: &mut Vec<Delivery>,
    ) -> io::Result<()> {
        poll_fn(|context| {
            let mut shared = self.buffer.borrow_mut();
            let mut buffer = ReadBuf::new(&mut shared);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Err(io::Error::other("the server ended a stream")).into();
            }
            let received_at = frame::now();
            parser.feed(buffer.filled(), |stamp| deliveries.push(Delivery { stamp, received_at })).into()
        })
        .await
    }
}
