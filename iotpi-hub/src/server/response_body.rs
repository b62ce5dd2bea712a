//! The body of an answer on its way to the connection.

use std::{
    pin::Pin,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll},
};

use axum::body::Body;

use super::activity::Ended;
use crate::http::mjpeg::{self, Piece};

/// An answer's body that knows when it is over.
pub(super) struct Answer {
    pub(super) body: Content,
    /// To a request that changes nothing: an answer of unknown length stops when nobody receives it.
    pub(super) reads: bool,
    pub(super) ended: Ended,
}

pub(super) enum Content {
    Body(Body),
    /// Frames without end.
    Parts(mjpeg::Parts),
}

impl http_body::Body for Answer {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Piece>, axum::Error>>> {
        if self.reads && self.ended.0.is_unheard.load(Relaxed) && self.size_hint().exact().is_none() {
            return Poll::Ready(None);
        }
        match &mut self.body {
            Content::Body(body) => {
                Pin::new(body).poll_frame(context).map_ok(|frame| frame.map_data(Piece::from))
            }
            Content::Parts(parts) => parts
                .as_mut()
                .poll_next(context)
                .map(|part| part.map(|part| Ok(http_body::Frame::data(part)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.body, Content::Body(body) if body.is_end_stream())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.body {
            Content::Body(body) => body.size_hint(),
            Content::Parts(_) => http_body::SizeHint::default(),
        }
    }
}
