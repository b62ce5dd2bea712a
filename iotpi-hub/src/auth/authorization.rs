//! The right of a caller to what it opened, which may end while it is in use.
//!
//! Everything that lasts longer than a moment holds one: a WebSocket, a stream, an export, a long poll. It comes from the same
//! extractor that identifies the caller, and the answer to every request is bound to it, so that no route can forget it.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::Poll,
    time::Duration,
};

use iotpi_core::ErrorKind;

use super::{Caller, Issuer, jwt::KeyId};
use crate::{Hub, error::HubError, store::Steady};

/// How often it is asked whether an authorization still holds when the hub itself ended none: it may have been ended by
/// another program, such as `iotpi-hub token revoke`. With the second that a credential is remembered it ends within 3 s.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// What a caller showed, as far as it can end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VerifiedCredential {
    /// The session or token that was shown, or that made what was shown.
    pub(crate) issuer: Issuer,
    /// The end of a JWT or a signed URL.
    pub(crate) expires_at: Option<Steady>,
    /// The key that signed it.
    pub(crate) key_id: Option<KeyId>,
}

impl From<Issuer> for VerifiedCredential {
    fn from(issuer: Issuer) -> Self {
        Self { issuer, expires_at: None, key_id: None }
    }
}

/// Who may, and until when.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    hub: Hub,
    caller: Caller,
    credential_info: VerifiedCredential,
    /// How many revocations there had been before it was checked.
    revision: u64,
}

/// Becomes ready when an authorization has ended.
pub(crate) type AuthorizationEnd = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Authorization {
    pub(crate) fn new(hub: &Hub, caller: Caller, credential_info: VerifiedCredential, revision: u64) -> Self {
        Self { hub: hub.clone(), caller, credential_info, revision }
    }

    /// Who calls.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn credential_info(&self) -> &VerifiedCredential {
        &self.credential_info
    }

    /// Waits until it has ended: the session or token is gone or has other rights, the JWT or signed URL has expired, or the key
    /// that signed it was replaced. At once where the hub itself ended it.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn ended(&self) {
        let mut revocations = self.hub.inner.token_cache.subscribe();
        let mut seen = self.revision;
        loop {
            let left = self
                .credential_info
                .expires_at
                .map(|expires_at| expires_at.0.since(self.hub.credential_time().0));
            let pause = left.map_or(CHECK_EVERY, |left| left.min(CHECK_EVERY));
            tokio::select! {
                _ = revocations.wait_for(|revision| *revision != seen) => {}
                () = tokio::time::sleep(pause) => {}
            }
            seen = *revocations.borrow_and_update();
            if !self.hub.still_holds(self).await {
                return;
            }
        }
    }
}

/// The authorization of one request, once its caller is identified: for the answer, which ends with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestAuthorization(Arc<OnceLock<Authorization>>);

impl RequestAuthorization {
    pub(crate) fn get(&self) -> Option<&Authorization> {
        self.0.get()
    }

    pub(crate) fn set(&self, authorization: &Authorization) {
        let _ = self.0.set(authorization.clone());
    }

    /// Waits until the authorization has ended; for ever while there is none. To be polled again with each step of the request
    /// that may set it.
    pub(crate) async fn ended(&self) {
        let set = std::future::poll_fn(|_| match self.0.get() {
            Some(authorization) => Poll::Ready(authorization),
            None => Poll::Pending,
        });
        set.await.ended().await;
    }
}

/// What a request hears whose authorization ended while it was answered.
pub(crate) fn authorization_ended() -> HubError {
    HubError::unauthenticated("The session, token or URL has ended. Log in again, or send a valid token.")
}

/// Whether an error says that a credential is no longer good. A store that fails ends nothing.
pub(crate) fn is_unauthenticated(error: &HubError) -> bool {
    error.kind() == ErrorKind::Unauthenticated
}
