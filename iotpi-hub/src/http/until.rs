//! Responses end with the authorization of their caller.

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

use crate::auth::{AuthorizationEnd, RequestAuthorization, authorization_ended};

/// A response extension: the body ends with the [`RequestAuthorization`] of its request by itself, and reports it.
#[derive(Debug, Clone)]
pub(super) struct EndsItself;

/// Returns the response if it is ready while the caller's authorization holds, or else the error that it has ended. A body that
/// is produced while it is sent ends with the authorization too: it fails, so that a client does not mistake the part it received
/// for the whole. The server finds the authorization in the extensions of such a response.
pub(super) async fn while_authorized(
    authorized: &RequestAuthorization,
    response: impl Future<Output = Response>,
) -> Response {
    let mut response = tokio::select! {
        biased;
        response = response => response,
        () = authorized.ended() => return authorization_ended().into_response(),
    };
    let Some(authorization) = authorized.get() else { return response };
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    response.extensions_mut().insert(authorization.clone());
    if response.extensions().get::<EndsItself>().is_some() {
        return response;
    }
    let authorization = authorization.clone();
    response.map(|body| {
        let ended = Box::pin(async move { authorization.ended().await });
        Body::new(AuthorizedBody { body, ended, is_over: false })
    })
}

/// A body that fails when its authorization ends.
struct AuthorizedBody {
    body: Body,
    ended: AuthorizationEnd,
    is_over: bool,
}

impl http_body::Body for AuthorizedBody {
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
