//! Commands: `/api/modules/{id}/control`, `/commands`, `/status`, and `/api/commands`.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Json, extract::State};
use http::{HeaderMap, HeaderName};
use iotpi_core::{
    ModuleId, NewCommand,
    model::command::{Command, LeasedCommand, StatusReceipt, StatusReport},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    api_router::{ApiRouter, routes},
    extract::{IngestAuth, JsonBody, PageParams, Path, Query, Uuid},
    page::Page,
    problem::{Conflict, NotFound, PermissionDenied, RateLimited, StorageFull, TooLarge, Unprocessable},
};
use crate::{
    Hub,
    admission::ConnectionPermit,
    auth::Caller,
    error::{HubError, Result},
    ops::authorization::Authorization,
    ops::commands::{MAX_CLAIM, MAX_WAIT},
};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new()
        .routes(routes!(control))
        .routes(routes!(claim))
        .routes(routes!(history))
        .routes(routes!(report))
        .routes(routes!(read))
        .routes(routes!(cancel))
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Submit a command
///
/// The hub checks the command against the manifest of the module, then stores it. Follow its progress with
/// `GET /api/commands/{id}` or over the live connection. A repeated request with the same `Idempotency-Key`
/// and body returns the first command in its current state.
#[utoipa::path(
    post, path = "/api/modules/{id}/control", tag = "commands", operation_id = "submit",
    params(
        ("id" = ModuleId, Path, description = "The id of the module"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 64,
         description = "A key that the caller chooses, in visible ASCII characters. The hub keeps it as long as the command"),
    ),
    request_body = NewCommand,
    responses((status = 200, description = "The queued command; with a repeated key, the first command in its current state", body = Command), PermissionDenied, NotFound, Conflict, TooLarge, Unprocessable, RateLimited, StorageFull)
)]
async fn control(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    headers: HeaderMap,
    JsonBody(command): JsonBody<NewCommand>,
) -> Result<Json<Command>> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let command = match (keys.next(), keys.next()) {
        (None, _) => hub.submit(&caller, &id, command).await?,
        (Some(key), None) => {
            // A header that is not text is not a valid key; `submit_once` rejects it.
            let key = key.to_str().unwrap_or_default().to_owned();
            hub.submit_once(&caller, &id, command, key).await?
        }
        _ => return Err(HubError::invalid_argument("Send one `Idempotency-Key` header only.")),
    };
    Ok(Json(command))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ClaimParams {
    /// How long to wait while no command is queued, in seconds; the default is 0.
    #[param(minimum = 0, maximum = 60)]
    wait: Option<f64>,
    /// The most commands to claim; the default is 1.
    #[param(minimum = 1, maximum = 16)]
    limit: Option<u32>,
}

/// Claim commands
///
/// A module claims its next commands. Each command is leased for 30 s. Report its outcome with
/// `POST /api/modules/{id}/status` before the lease ends, or the command returns to the queue.
#[utoipa::path(
    get, path = "/api/modules/{id}/commands", tag = "commands", operation_id = "claim",
    params(("id" = ModuleId, Path, description = "The id of the module"), ClaimParams),
    responses((status = 200, description = "The claimed commands, oldest first, each with its lease", body = Page<LeasedCommand>), PermissionDenied, RateLimited, StorageFull)
)]
async fn claim(
    State(hub): State<Hub>,
    authorization: Authorization,
    Extension(connection): Extension<Arc<ConnectionPermit>>,
    Path(id): Path<ModuleId>,
    Query(query): Query<ClaimParams>,
) -> Result<Json<Page<LeasedCommand>>> {
    let limit = query.limit.unwrap_or(1);
    if !(1..=MAX_CLAIM).contains(&limit) {
        return Err(HubError::invalid_argument("`limit` must be 1 to 16"));
    }
    let wait = Duration::try_from_secs_f64(query.wait.unwrap_or(0.0))
        .ok()
        .filter(|wait| *wait <= MAX_WAIT)
        .ok_or_else(|| HubError::invalid_argument("`wait` must be 0 to 60 seconds"))?;
    if !wait.is_zero() {
        connection.cancel_on_close();
    }
    hub.claim_authorized(&authorization, &id, limit, wait).await.map(Page::single).map(Json)
}

/// Report status
///
/// A module reports the progress or outcome of a command, its own state, or both. An empty object is a
/// heartbeat.
#[utoipa::path(
    post, path = "/api/modules/{id}/status", tag = "commands", operation_id = "report",
    params(("id" = ModuleId, Path, description = "The id of the module")),
    request_body = StatusReport,
    responses((status = 200, description = "Accepted", body = StatusReceipt), PermissionDenied, NotFound, Conflict, TooLarge, RateLimited, StorageFull)
)]
async fn report(
    State(hub): State<Hub>,
    IngestAuth(caller): IngestAuth,
    Path(id): Path<ModuleId>,
    JsonBody(report): JsonBody<StatusReport>,
) -> Result<Json<StatusReceipt>> {
    hub.report(&caller, &id, report).await.map(Json)
}

/// List the commands of a module
///
/// Lists the newest command first.
#[utoipa::path(
    get, path = "/api/modules/{id}/commands/history", tag = "commands", operation_id = "list_commands",
    params(("id" = ModuleId, Path, description = "The id of the module"), PageParams),
    responses((status = 200, description = "A page of commands", body = Page<Command>), PermissionDenied, NotFound)
)]
async fn history(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<Command>>> {
    caller.may_read()?;
    let page = page.request()?;
    if hub.store().module(&id).await?.is_none() {
        return Err(HubError::no_module(&id));
    }
    Ok(Json(hub.store().commands(&id, &page).await?.into()))
}

/// Get a command
///
/// Returns the command with its current state and, once it has ended, its outcome.
#[utoipa::path(
    get, path = "/api/commands/{id}", tag = "commands", operation_id = "read_command",
    params(("id" = inline(Uuid), Path, description = "The id of the command")),
    responses((status = 200, description = "The command", body = Command), PermissionDenied, NotFound)
)]
async fn read(State(hub): State<Hub>, caller: Caller, Path(Uuid(id)): Path<Uuid>) -> Result<Json<Command>> {
    caller.may_read()?;
    let command = hub.store().command(&id.into()).await?;
    command.map(Json).ok_or_else(|| HubError::not_found("There is no command with this id."))
}

/// Cancel a command
///
/// Only a queued command can be cancelled.
#[utoipa::path(
    post, path = "/api/commands/{id}/cancel", tag = "commands", operation_id = "cancel_command",
    params(("id" = inline(Uuid), Path, description = "The id of the command")),
    responses((status = 200, description = "The cancelled command", body = Command), PermissionDenied, NotFound, Conflict, StorageFull)
)]
async fn cancel(State(hub): State<Hub>, caller: Caller, Path(Uuid(id)): Path<Uuid>) -> Result<Json<Command>> {
    hub.cancel_command(&caller, &id.into()).await.map(Json)
}
