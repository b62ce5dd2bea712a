//! The body of an MJPEG stream.
//!
//! A part is passed to the connection as one chunk of three shared slices, so that a viewer costs one system call per frame and
//! no copy. axum's bodies consist of `Bytes`, one slice each. So the stream is put into the extensions of the response, and the
//! server sends it in place of the empty body. A server of the program gets the slices one by one.

use std::{
    io::IoSlice,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt as _, stream};

use crate::{
    Hub,
    auth::Caller,
    frames::{PublishedFrame, Viewer},
    lock::lock,
    ops::authorization::{Authorization, AuthorizationEnd},
};

/// The end of every part. Chrome draws a part only after the following boundary, so it is sent at once.
const PART_END: Bytes = Bytes::from_static(b"\r\n--frame\r\n");

/// The chunks of a stream.
pub(crate) type Parts = Pin<Box<dyn Stream<Item = Chunk> + Send>>;

/// A response extension: the parts of a stream, which the server takes.
#[derive(Clone)]
pub(crate) struct Mjpeg(Arc<Mutex<Option<Parts>>>);

impl Mjpeg {
    /// A stream of the newest frame each time the viewer is ready for one. It ends when the camera is removed, the authorization
    /// ends, or the hub stops.
    pub(super) fn new(hub: Hub, viewer: Viewer, authorization: Authorization) -> Self {
        let opening = stream::iter([Chunk::from(Bytes::from_static(b"--frame\r\n"))]);
        let caller = authorization.caller().clone();
        let ended: AuthorizationEnd = Box::pin(async move { authorization.ended().await });
        let state = (hub, viewer, caller, ended);
        let parts = stream::unfold(state, |(hub, mut viewer, caller, mut ended)| async move {
            let part = tokio::select! {
                biased;
                () = hub.stopping().cancelled() => None,
                () = &mut ended => None,
                part = next_part(&hub, &mut viewer, &caller) => part,
            }?;
            Some((part, (hub, viewer, caller, ended)))
        });
        Self(Arc::new(Mutex::new(Some(opening.chain(parts).boxed()))))
    }

    /// Takes the parts. Later calls return `None`.
    pub(crate) fn take(&self) -> Option<Parts> {
        lock(&self.0).take()
    }
}

/// Waits for the newest frame that fits into the budget; `None` when the camera was removed.
async fn next_part(hub: &Hub, viewer: &mut Viewer, caller: &Caller) -> Option<Chunk> {
    loop {
        let frame = viewer.next().await?;
        // When the budget had no room in time the frame is outdated. The next one is tried.
        if let Ok(jpeg) = hub.inner.admission.view(caller, frame.frame.jpeg()).await {
            return Some(part(&frame, jpeg));
        }
    }
}

fn part(frame: &PublishedFrame, jpeg: Bytes) -> Chunk {
    let head = frame.part_head.get_or_init(|| {
        let head = format!(
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: {:.6}\r\nX-Sequence: {}\r\n{}\r\n",
            frame.frame.jpeg().len(),
            frame.captured_at.as_secs_f64(),
            frame.seq,
            if frame.no_signal { "X-Signal: none\r\n" } else { "" },
        );
        head.into()
    });
    Chunk([head.clone(), jpeg, PART_END])
}

/// Up to three slices that are sent together.
#[derive(Debug)]
pub(crate) struct Chunk([Bytes; 3]);

impl Chunk {
    /// The slices that are not empty.
    pub(crate) fn into_slices(self) -> impl Iterator<Item = Bytes> {
        self.0.into_iter().filter(|slice| !slice.is_empty())
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self([bytes, Bytes::new(), Bytes::new()])
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.iter().find(|slice| !slice.is_empty()).map_or(&[], |slice| slice)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let slices = self.0.iter().filter(|slice| !slice.is_empty());
        slices.zip(into).map(|(slice, into)| *into = IoSlice::new(slice)).count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining(), "advanced past the end");
        for slice in &mut self.0 {
            let step = count.min(slice.len());
            slice.advance(step);
            count -= step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_the_concatenation_of_its_slices_however_it_is_read() {
        let chunk = || Chunk([Bytes::from_static(b"head"), Bytes::new(), Bytes::from_static(b"tail")]);
        for step in 1..=8 {
            let mut chunk = chunk();
            let mut read = Vec::new();
            while chunk.has_remaining() {
                let step = step.min(chunk.remaining());
                read.extend_from_slice(&chunk.chunk()[..step.min(chunk.chunk().len())]);
                chunk.advance(step.min(chunk.chunk().len()));
            }
            assert_eq!(read, b"headtail");
        }
        let whole = chunk();
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(whole.chunks_vectored(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"head"[..], &b"tail"[..]));
        assert_eq!(whole.chunks_vectored(&mut slices[..1]), 1);
        let mut advanced = chunk();
        advanced.advance(6);
        assert_eq!((advanced.remaining(), advanced.chunk()), (2, &b"il"[..]));
    }
}
