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

use crate::ops::authorization::{AuthorizationEnd, RequestAuthorization, authorization_ended};

/// A response extension: the body ends with the [`RequestAuthorization`] of its request by itself, and
/// reports the end.
#[derive(Debug, Clone)]
pub(super) struct EndsItself;

/// Returns the response, or the error that the caller's authorization has ended.
///
/// The response to a safe method is returned only if the authorization still holds when the response is
/// ready: the revocation and the response may become ready at the same time. The response to any other method
/// is returned as it is, because it reports a change that was made, such as the logout of its own session.
///
/// A body that is produced while it is sent ends with the authorization too: it fails, so that a client does
/// not mistake the part it received for the whole. The server finds the authorization in the extensions of
/// such a response.
pub(super) async fn while_authorized(
    authorized: &RequestAuthorization,
    is_safe: bool,
    response: impl Future<Output = Response>,
) -> Response {
    let mut response = tokio::select! {
        biased;
        response = response => response,
        () = authorized.ended() => return authorization_ended().into_response(),
    };
    let Some(authorization) = authorized.get() else { return response };
    if is_safe && !authorization.survives_revocations().await {
        return authorization_ended().into_response();
    }
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

#[cfg(test)]
mod tests {
    use std::future::ready;

    use http::StatusCode;
    use iotpi_core::{SystemClock, model::id::UserName};

    use super::*;
    use crate::{
        Config, Hub,
        auth::{Caller, Credential, Role, token::NewToken},
        store,
    };

    #[tokio::test]
    async fn a_read_that_is_ready_when_its_token_is_revoked_is_refused() {
        let store = store::open("sqlite::memory:").await.unwrap();
        let hub = Hub::start(Config::default(), store, SystemClock::shared()).await.unwrap();
        let admin = Caller::known(UserName::new("anna").unwrap(), Role::Admin, None);
        let authorize = async |name: &str| {
            let new = NewToken { name: UserName::new(name).unwrap(), role: Role::Viewer, module_id: None };
            let issued = hub.issue_token(&admin, new).await.unwrap();
            let authorized = RequestAuthorization::default();
            authorized.set(&hub.authorize(&Credential::Bearer(issued.token)).await.unwrap());
            (issued.info.id, authorized)
        };
        let (id, revoked) = authorize("revoked").await;
        let (_, valid) = authorize("valid").await;
        let status = async |authorized, is_safe| {
            while_authorized(authorized, is_safe, ready(StatusCode::OK.into_response())).await.status()
        };

        hub.revoke_token(&admin, &id).await.unwrap();

        assert_eq!(status(&revoked, true).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(&revoked, false).await, StatusCode::OK, "the change was made");
        assert_eq!(status(&valid, true).await, StatusCode::OK);
        hub.shutdown().await.unwrap();
    }
}
