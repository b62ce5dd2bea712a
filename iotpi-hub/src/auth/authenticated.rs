//! Callers that the program authenticates itself.

use tokio_util::sync::CancellationToken;

use crate::auth::Caller;

/// The caller of a request, authenticated by the program that embeds the hub: a request extension.
///
/// A middleware around [`Hub::router`](crate::Hub::router) inserts it. The hub then ignores the credentials
/// of the request, and applies the permissions of this caller. A request without it needs credentials of the
/// hub.
///
/// The hub's own operations for credentials remain: `POST /api/auth/logout` does not end a session of the
/// program, and JWTs and signed URLs cannot be made for its callers.
///
/// ```
/// use axum::{Router, extract::Request, middleware::{Next, from_fn}, response::Response};
/// use iotpi_hub::{Config, Hub, auth::{Authenticated, Caller, Role}};
///
/// async fn authenticate(mut request: Request, next: Next) -> Response {
///     // Look up the session of your program here.
///     if request.headers().get("x-session").is_some_and(|session| session == "anna's") {
///         let anna = Caller::known("anna".parse().unwrap(), Role::Operator, None);
///         request.extensions_mut().insert(Authenticated::new(anna));
///     }
///     next.run(request).await
/// }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let hub = Hub::open(Config { store: "sqlite::memory:".into(), ..Config::default() }).await?;
/// let app: Router = hub.router().layer(from_fn(authenticate));
/// # hub.shutdown().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Authenticated {
    caller: Caller,
    ended: CancellationToken,
}

impl Authenticated {
    /// A caller whose authorization does not end before its requests. Its session is its name.
    #[must_use]
    pub fn new(caller: Caller) -> Self {
        let name = caller.identity().map(|identity| identity.name.to_string());
        Self { caller, ended: CancellationToken::new() }.session(&name.unwrap_or_default())
    }

    /// Sets the id of the program's session. An action with `while_alive` continues only while the session
    /// that requested it makes requests or has a live connection, so each browser of a person should have a
    /// session of its own. The id is stored with commands: pass an id, not the secret.
    #[must_use]
    pub fn session(self, id: &str) -> Self {
        // No session or token of the hub has such a name.
        Self { caller: self.caller.with_issuer(format!("program:{id}")), ..self }
    }

    /// Ends the authorization when the token is cancelled, for example at logout: streams and live
    /// connections that were opened with it are closed.
    #[must_use]
    pub fn until(self, ended: CancellationToken) -> Self {
        Self { ended, ..self }
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}
