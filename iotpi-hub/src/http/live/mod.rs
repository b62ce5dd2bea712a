//! `/api/live`: events and frames over a WebSocket. The protocol is described in `docs/ref/live.md`.

mod client;
mod pings;
mod request;
mod request_rate;
mod socket;
mod upgrade;
mod watches;

use std::sync::Arc;

use axum::{Extension, extract::State, response::Response};
use hyper_util::rt::TokioIo;

use self::{client::Client, socket::Socket, upgrade::Upgrade};
use super::{
    api_router::{ApiRouter, routes},
    problem,
};
use crate::{Hub, admission::ConnectionPermit, error::Result, ops::authorization::Authorization};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new().routes(routes!(live))
}

/// Live events and frames
///
/// Upgrades to a WebSocket. The protocol is described in docs/ref/live.md.
#[utoipa::path(
    get, path = "/api/live", tag = "live", operation_id = "live",
    security(("session" = []), ("bearer" = []), ("basic" = []), ("signed_url" = [])),
    responses((status = 101, description = "A WebSocket"), problem::PermissionDenied)
)]
async fn live(
    State(hub): State<Hub>,
    authorization: Authorization,
    Extension(connection): Extension<Arc<ConnectionPermit>>,
    upgrade: Result<Upgrade>,
) -> Result<Response> {
    let caller = authorization.caller();
    caller.may_read()?;
    let upgrade = upgrade?;
    let presence = caller.issuer().map(|issuer| hub.inner.issuers.connect(issuer, hub.now().steady));
    let tasks = hub.inner.tasks.clone();
    let (response, upgraded) = upgrade.accept();
    tasks.spawn(async move {
        // A client may close the connection before the upgrade; there is nothing to do then.
        if let Ok(stream) = upgraded.await {
            let caller = authorization.caller().clone();
            let ended = Box::pin(async move { authorization.ended().await });
            let socket = Socket::new(TokioIo::new(stream)).await;
            Client::new(hub, caller, socket, presence, ended).run().await;
            drop(connection);
        }
    });
    Ok(response)
}
