//! Answers end with the authorization of whoever asked.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::auth::{RequestAuthorization, authorization_ended};

/// In the extensions of an answer whose body ends with the [`RequestAuthorization`] of its request by itself, and says so.
#[derive(Debug, Clone)]
pub(super) struct EndsItself;

/// The answer, if it comes while the caller's authorization holds; else that it has ended. A body that is made while it is sent
/// ends with the authorization, too: it breaks off, so that nobody takes what there is of it for the whole.
pub(super) async fn while_authorized(
    authorized: &RequestAuthorization,
    answer: impl Future<Output = Response>,
) -> Response {
    let response = tokio::select! {
        biased;
        response = answer => response,
        () = authorized.ended() => return authorization_ended().into_response(),
    };
    match authorized.get() {
        Some(authorization)
            if response.body().size_hint().exact().is_none()
                && response.extensions().get::<EndsItself>().is_none() =>
        {
            let authorization = authorization.clone();
            response.map(|body| {
                let ended = Box::pin(async move { authorization.ended().await });
                Body::new(Until { body, ended, is_over: false })
            })
        }
        _ => response,
    }
}

/// A body that ends with an authorization.
struct Until {
    body: Body,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_over: bool,
}

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if self.ended.as_mut().poll(context).is_ready() {
            self.is_over = true;
            return Poll::Ready(Some(Err(axum::Error::new(authorization_ended()))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
