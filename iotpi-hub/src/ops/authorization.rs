//! Authorizations, which may end while a response or connection still uses them.
//!
//! Every long-lived operation holds one: a WebSocket, a stream, an export, a long poll. The extractor that
//! identifies the caller creates it, and the response to every request is bound to it, so no route can forget
//! the check.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::Poll,
    time::Duration,
};

use iotpi_core::model::error::ErrorKind;
use tokio_util::sync::CancellationToken;

use crate::{
    Hub,
    auth::{Authenticated, Caller, Issuer, jwt::KeyId},
    error::HubError,
    store::Steady,
};

/// The interval of checks for revocations by another process, such as `iotpi-hub token revoke`. Together with
/// the token cache, which keeps a credential for 1 s, such an authorization ends within 3 s.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// The verified credential of a caller, with everything that can end it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VerifiedCredential {
    /// The session or token, or the one that issued the JWT or signed URL.
    pub(crate) issuer: Issuer,
    /// When the JWT or signed URL expires.
    pub(crate) expires_at: Option<Steady>,
    /// The id of the key that signed the JWT or URL.
    pub(crate) key_id: Option<KeyId>,
}

impl From<Issuer> for VerifiedCredential {
    fn from(issuer: Issuer) -> Self {
        Self { issuer, expires_at: None, key_id: None }
    }
}

/// What authorizes a caller.
#[derive(Debug, Clone)]
pub(crate) enum Basis {
    /// A credential of the hub.
    Credential(VerifiedCredential),
    /// The program that embeds the hub, until this is cancelled.
    Program(CancellationToken),
}

/// An identified caller with what authorizes it.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    hub: Hub,
    caller: Caller,
    basis: Basis,
    /// The revision of the token cache before the credential was checked.
    revision: u64,
}

/// Becomes ready when an authorization has ended.
pub(crate) type AuthorizationEnd = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Authorization {
    pub(crate) fn new(hub: &Hub, caller: Caller, credential_info: VerifiedCredential, revision: u64) -> Self {
        Self { hub: hub.clone(), caller, basis: Basis::Credential(credential_info), revision }
    }

    /// The authorization of a caller that the program authenticated. Its request shows that its issuer is
    /// present.
    pub(crate) fn by_program(hub: &Hub, authenticated: &Authenticated) -> Self {
        let caller = authenticated.caller().clone();
        if let Some(issuer) = caller.issuer() {
            hub.inner.issuers.touch(issuer, hub.now().steady);
        }
        let basis = Basis::Program(authenticated.ended().clone());
        Self { hub: hub.clone(), caller, basis, revision: hub.inner.token_cache.revision() }
    }

    /// The authorized caller.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Waits until the authorization ends: its session or token was removed or changed its role, its JWT or
    /// signed URL expired, or its signing key was replaced. A revocation through the hub is noticed at once.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn ended(&self) {
        let credential_info = match &self.basis {
            Basis::Credential(credential_info) => credential_info,
            Basis::Program(ended) => return ended.cancelled().await,
        };
        let mut revocations = self.hub.inner.token_cache.subscribe();
        let mut last_revision = self.revision;
        loop {
            let left =
                credential_info.expires_at.map(|expires_at| expires_at.0.since(self.hub.credential_time().0));
            let interval = left.map_or(CHECK_EVERY, |left| left.min(CHECK_EVERY));
            tokio::select! {
                _ = revocations.wait_for(|revision| *revision != last_revision) => {}
                () = tokio::time::sleep(interval) => {}
            }
            last_revision = *revocations.borrow_and_update();
            if !self.hub.still_holds(self).await {
                return;
            }
        }
    }
}

impl Authorization {
    /// Whether the authorization still holds. The credential is checked again if any credential was revoked
    /// through the hub since the first check.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn survives_revocations(&self) -> bool {
        match &self.basis {
            Basis::Credential(_) if self.hub.inner.token_cache.revision() == self.revision => true,
            _ => self.hub.still_holds(self).await,
        }
    }
}

/// The authorization of one request, set once its caller is identified. The response ends with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestAuthorization(Arc<OnceLock<Authorization>>);

impl RequestAuthorization {
    pub(crate) fn get(&self) -> Option<&Authorization> {
        self.0.get()
    }

    pub(crate) fn set(&self, authorization: &Authorization) {
        let _ = self.0.set(authorization.clone());
    }

    /// Waits until the authorization ends, and forever while it is not set. Poll it again after each step of
    /// the request, which may set the authorization.
    pub(crate) async fn ended(&self) {
        let set = std::future::poll_fn(|_| match self.0.get() {
            Some(authorization) => Poll::Ready(authorization),
            None => Poll::Pending,
        });
        set.await.ended().await;
    }
}

/// The error for a request whose authorization ended before its response was complete.
pub(crate) fn authorization_ended() -> HubError {
    HubError::unauthenticated("The session, token or URL has ended. Log in again, or send a valid token.")
}

/// Whether the credential is no longer valid. A store error does not end an authorization.
pub(crate) fn is_unauthenticated(error: &HubError) -> bool {
    error.kind() == ErrorKind::Unauthenticated
}
