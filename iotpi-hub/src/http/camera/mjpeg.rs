//! The body of an MJPEG stream.
//!
//! A part is handed to the connection in one piece of three shared slices, so that a viewer costs one system call a frame and
//! no copy. axum's bodies are made of `Bytes`, one slice each; so the stream rides along in the answer's extensions, and the
//! server sends it in place of the empty body.

use std::{
    io::IoSlice,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt as _, stream};

use crate::{
    Hub,
    auth::{Authorization, AuthorizationEnd, Caller},
    frames::{PublishedFrame, Viewer},
    lock::lock,
};

/// What follows every frame: Chrome paints a part only when it has seen where it ends, so the boundary comes at once.
const TAIL: Bytes = Bytes::from_static(b"\r\n--frame\r\n");

/// Pieces as they come.
pub(crate) type Parts = Pin<Box<dyn Stream<Item = Piece> + Send>>;

/// The parts of a stream on their way from the door to the server, which takes them.
#[derive(Clone)]
pub(crate) struct Mjpeg(Arc<Mutex<Option<Parts>>>);

impl Mjpeg {
    /// The newest frame each time the viewer is ready for one, until the camera is removed, the authorization that opened the
    /// stream ends, or the hub stops.
    pub(super) fn new(hub: Hub, viewer: Viewer, authorization: Authorization) -> Self {
        let opening = stream::iter([Piece::from(Bytes::from_static(b"--frame\r\n"))]);
        let caller = authorization.caller().clone();
        let ended: AuthorizationEnd = Box::pin(async move { authorization.ended().await });
        let opened = (hub, viewer, caller, ended);
        let parts = stream::unfold(opened, |(hub, mut viewer, caller, mut ended)| async move {
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

    /// The parts; the first time it is asked.
    pub(crate) fn take(&self) -> Option<Parts> {
        lock(&self.0).take()
    }
}

/// The newest frame for which there is room; nothing when the camera is removed.
async fn next_part(hub: &Hub, viewer: &mut Viewer, caller: &Caller) -> Option<Piece> {
    loop {
        let shown = viewer.next().await?;
        // Without room in time, the frame is old: the next one is tried.
        if let Ok(jpeg) = hub.inner.admission.view(caller, shown.frame.jpeg()).await {
            return Some(part(&shown, jpeg));
        }
    }
}

fn part(shown: &PublishedFrame, jpeg: Bytes) -> Piece {
    let head = shown.part_head.get_or_init(|| {
        let head = format!(
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: {:.6}\r\nX-Sequence: {}\r\n{}\r\n",
            shown.frame.jpeg().len(),
            shown.captured_at.as_secs_f64(),
            shown.seq,
            if shown.no_signal { "X-Signal: none\r\n" } else { "" },
        );
        head.into()
    });
    Piece([head.clone(), jpeg, TAIL])
}

/// Up to three slices that are sent as one.
#[derive(Debug)]
pub(crate) struct Piece([Bytes; 3]);

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self([bytes, Bytes::new(), Bytes::new()])
    }
}

impl Buf for Piece {
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
    fn a_piece_is_its_slices_one_after_the_other_however_it_is_read() {
        let piece = || Piece([Bytes::from_static(b"head"), Bytes::new(), Bytes::from_static(b"tail")]);
        for step in 1..=8 {
            let mut piece = piece();
            let mut read = Vec::new();
            while piece.has_remaining() {
                let step = step.min(piece.remaining());
                read.extend_from_slice(&piece.chunk()[..step.min(piece.chunk().len())]);
                piece.advance(step.min(piece.chunk().len()));
            }
            assert_eq!(read, b"headtail");
        }
        let whole = piece();
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(whole.chunks_vectored(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"head"[..], &b"tail"[..]));
        assert_eq!(whole.chunks_vectored(&mut slices[..1]), 1);
        let mut most = piece();
        most.advance(6);
        assert_eq!((most.remaining(), most.chunk()), (2, &b"il"[..]));
    }
}
