//! The body of a response, as hyper sends it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;

use super::limits::RequestGuard;
use crate::http::mjpeg::{self, Chunk};

/// The body of a response. It holds the guard of its request, which ends the busy phase when the body is dropped.
pub(super) struct ResponseBody {
    content: Content,
    /// Whether the request changes nothing. A body of unknown length then stops when the client has closed the connection.
    is_read_only: bool,
    guard: RequestGuard,
}

pub(super) enum Content {
    Body(Body),
    /// The endless parts of an MJPEG stream.
    Parts(mjpeg::Parts),
}

impl ResponseBody {
    pub(super) fn new(content: Content, is_read_only: bool, guard: RequestGuard) -> Self {
        Self { content, is_read_only, guard }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Chunk;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Chunk>, axum::Error>>> {
        if self.is_read_only && self.guard.state.is_write_broken() && self.size_hint().exact().is_none() {
            return Poll::Ready(None);
        }
        match &mut self.content {
            Content::Body(body) => {
                Pin::new(body).poll_frame(context).map_ok(|frame| frame.map_data(Chunk::from))
            }
            Content::Parts(parts) => parts
                .as_mut()
                .poll_next(context)
                .map(|part| part.map(|part| Ok(http_body::Frame::data(part)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Body(body) if body.is_end_stream())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.content {
            Content::Body(body) => body.size_hint(),
            Content::Parts(_) => http_body::SizeHint::default(),
        }
    }
}
